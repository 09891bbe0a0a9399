//! Where the spans of this process go, by the standard variables of OpenTelemetry.

mod exporter;
mod place;
mod sampling;
mod tracer;

use std::time::Duration;

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use tracing::{Dispatch, Span, Subscriber, span::Id};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};
use tracing_subscriber::{Layer, registry::LookupSpan};

use self::place::Places;
pub use self::sampling::Sampling;
pub(crate) use self::tracer::Recorder;
use crate::service::Service;

/// How long finished spans gather before they are sent.
const DELAY: Duration = Duration::from_secs(5);
/// Where collectors listen by convention.
const COLLECTOR: &str = "http://localhost:4317";

/// What becomes of the spans of this process. By default they have ids and are passed on, and
/// nothing is kept or sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Traces {
    /// Who gets the spans.
    pub export: Option<Export>,
    /// Variables with values that can not be followed, in words for the log.
    pub ignored: Vec<String>,
}

/// Spans go to a collector, over OTLP with gRPC.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// URL of the collector.
    pub collector: String,
    /// Which traces are sent.
    pub sampling: Sampling,
    /// How long finished spans gather before they are sent.
    pub delay: Duration,
    /// Name of all spans' service; without it each span is marked with its own.
    pub service: Option<String>,
    /// What is known about the process beside its service.
    pub attributes: Vec<(String, String)>,
}

impl Export {
    /// Sends every trace to a collector.
    pub fn to(collector: impl Into<String>) -> Self {
        Self {
            collector: collector.into(),
            sampling: Sampling::default(),
            delay: DELAY,
            service: None,
            attributes: Vec::new(),
        }
    }
}

impl Traces {
    /// Reads `OTEL_*` variables. As their specification asks for, a value that can not be followed
    /// is ignored, and told.
    ///
    /// Without `OTEL_TRACES_EXPORTER` and an endpoint nothing is exported: the specification's
    /// default, a collector on this machine, would be asked in vain by most.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        let mut ignored = Vec::new();
        if get("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Self::default();
        }
        let endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"));
        let collector = match (get("OTEL_TRACES_EXPORTER").as_deref(), endpoint) {
            (Some("none"), _) | (None, None) => return Self::default(),
            (None | Some("otlp"), endpoint) => endpoint.unwrap_or_else(|| COLLECTOR.to_owned()),
            (Some(other), _) => {
                ignored.push(format!("OTEL_TRACES_EXPORTER={other} (known: otlp, none)"));
                return Self {
                    export: None,
                    ignored,
                };
            }
        };
        let protocol = get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| get("OTEL_EXPORTER_OTLP_PROTOCOL"));
        ignored.extend(
            protocol
                .filter(|protocol| protocol != "grpc")
                .map(|other| format!("OTEL_EXPORTER_OTLP_PROTOCOL={other} (known: grpc)")),
        );
        let mut export = Export::to(collector);
        if let Some(name) = get("OTEL_TRACES_SAMPLER") {
            let argument = get("OTEL_TRACES_SAMPLER_ARG");
            match Sampling::named(&name, argument.as_deref()) {
                Some(sampling) => export.sampling = sampling,
                None => ignored.push(format!(
                    "OTEL_TRACES_SAMPLER={name} with OTEL_TRACES_SAMPLER_ARG={}",
                    argument.unwrap_or_default()
                )),
            }
        }
        if let Some(text) = get("OTEL_BSP_SCHEDULE_DELAY") {
            match text.parse() {
                Ok(millis) => export.delay = Duration::from_millis(millis),
                Err(_) => ignored.push(format!("OTEL_BSP_SCHEDULE_DELAY={text}")),
            }
        }
        if let Some(text) = get("OTEL_RESOURCE_ATTRIBUTES") {
            match attributes(&text) {
                Some(attributes) => export.attributes = attributes,
                None => ignored.push("OTEL_RESOURCE_ATTRIBUTES (expected name=value,…)".to_owned()),
            }
        }
        let named = export
            .attributes
            .iter()
            .find(|(name, _)| name == "service.name");
        let named = named.map(|(_, value)| value.clone());
        export.service = get("OTEL_SERVICE_NAME").or(named);
        Self {
            export: Some(export),
            ignored,
        }
    }
}

/// Gives spans their place in a trace, and hands them to the recorder, if there is one. The source
/// code's place and the threads are left out.
pub(crate) fn layer<S>(recorder: Option<&Recorder>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let Some(recorder) = recorder else {
        return Places.boxed();
    };
    tracing_opentelemetry::layer()
        .with_tracer(recorder.tracer())
        .with_context_activation(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .boxed()
}

/// Returns the ids of a span, if it is in a trace.
pub(crate) fn ids_of(id: &Id, dispatch: &Dispatch) -> Option<SpanContext> {
    let ids = match place::of(id, dispatch) {
        Some(place) => place.ids,
        None => get_otel_context(id, dispatch)?
            .span()
            .span_context()
            .clone(),
    };
    ids.is_valid().then_some(ids)
}

/// Returns the ids of the current span, if it is in a trace.
pub(crate) fn ids() -> Option<SpanContext> {
    let current = Span::current();
    let ids = current.with_subscriber(|(id, dispatch)| ids_of(id, dispatch));
    ids.flatten()
}

/// Returns the service whose work the current span is.
pub(crate) fn service() -> Option<Service> {
    let current = Span::current();
    let service = current.with_subscriber(|(id, dispatch)| match place::of(id, dispatch) {
        Some(place) => place.service,
        None => get_otel_context(id, dispatch)?.get::<Service>().cloned(),
    });
    service.flatten()
}

/// Makes a span that begins a trace the work of a service, if it is one; where spans are recorded none is,
/// for its recorder has to hear of it in a context.
pub(crate) fn begin(span: &Span, service: &str) -> bool {
    place::begun(span, service)
}

/// Moves a span that has not begun into the trace and the service of a context.
pub(crate) fn set_parent(span: &Span, context: Context) {
    if place::moved(span, &context) {
        return;
    }
    // Fails where nobody makes spans, and for one that has begun.
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "span does not join the caller's trace");
    }
}

/// Reads `name=value,name=value`.
fn attributes(text: &str) -> Option<Vec<(String, String)>> {
    let pairs = text.split(',').filter(|pair| !pair.trim().is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            Some((name.trim().to_owned(), value.trim().to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests;
