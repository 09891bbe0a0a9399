//! Everything that a service is told when it runs as a process of its own.

use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::{DEFAULT_FILTER, Format, Traces};

use super::{Configured, Links, Reader};

/// The settings of a service together with those of its process.
#[derive(Debug)]
pub struct Standalone<C> {
    /// The service's own.
    pub service: C,
    /// How it reaches what all services share.
    pub links: Links,
    /// How it reports.
    pub telemetry: sutazai_telemetry::Config,
}

impl<C: Configured> Configured for Standalone<C> {
    const SERVICE: ServiceName = C::SERVICE;
    const USES_BROKER: bool = C::USES_BROKER;
    const USES_CACHE: bool = C::USES_CACHE;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let service = C::read(reader);
        let links = Links::read::<C>(reader);
        let telemetry = telemetry(reader);
        Some(Self {
            service: service?,
            links: links?,
            telemetry,
        })
    }
}

fn telemetry(reader: &mut Reader<'_>) -> sutazai_telemetry::Config {
    let format = reader.or(
        "LOG_FORMAT",
        "form of the log lines: `json`, `human`, or `auto` by whether a terminal is there",
        Format::default(),
    );
    let filter = reader.or(
        "RUST_LOG",
        "log level per target, for example info,sqlx=warn",
        DEFAULT_FILTER.to_owned(),
    );
    let doc = "collector of traces, as http://host:4317; this and every other OTEL_ variable as \
               OpenTelemetry specifies it";
    reader.optional::<String>("OTEL_EXPORTER_OTLP_ENDPOINT", doc);
    let traces = Traces::from_env(|name| reader.given(name).map(str::to_owned));
    sutazai_telemetry::Config {
        format,
        filter,
        traces,
    }
}
