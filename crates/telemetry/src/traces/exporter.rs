//! Sends spans to a collector, each in the name of its service.

use std::{
    collections::BTreeMap,
    future::{Future, ready},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use opentelemetry::KeyValue;
use opentelemetry_otlp::{ExporterBuildError, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    error::{OTelSdkError, OTelSdkResult},
    trace::{SpanData, SpanExporter},
};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use super::Export;

/// Attribute of a resource that names its service; spans carry it until they are sent.
pub(super) const SERVICE_NAME: &str = "service.name";
/// Field of spans that log lines take; in traces the resource says it.
const SERVICE_FIELD: &str = "service";
/// What spans belong to that belong to no service.
const PLATFORM: &str = "sutazai";

type Client = Arc<opentelemetry_otlp::SpanExporter>;

/// One client of the collector for each service: OTLP knows the service of a process, not of a span.
pub(super) struct Exporter {
    export: Export,
    /// Its own: it lives on while the process's runtimes end, and a slow collector slows nobody.
    runtime: Option<Runtime>,
    clients: Mutex<BTreeMap<String, Client>>,
    /// Whether the collector did not take the last batch; only a change is logged.
    refused: AtomicBool,
}

impl Exporter {
    pub(super) fn new(export: Export) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("traces")
            .enable_all()
            .build()?;
        Ok(Self {
            export,
            runtime: Some(runtime),
            clients: Mutex::default(),
            refused: AtomicBool::new(false),
        })
    }

    /// Sends a batch and waits until it is taken. Runs on the thread of the batches, where nobody else
    /// waits.
    fn send(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        runtime.block_on(async {
            let mut result = Ok(());
            for (service, spans) in self.by_service(batch) {
                let sent = match self.client(service) {
                    Ok(client) => client.export(spans).await,
                    Err(error) => Err(OTelSdkError::InternalFailure(error.to_string())),
                };
                result = result.and(sent);
            }
            result
        })
    }

    fn by_service(&self, batch: Vec<SpanData>) -> BTreeMap<String, Vec<SpanData>> {
        let mut parts: BTreeMap<String, Vec<SpanData>> = BTreeMap::new();
        for mut span in batch {
            let mut service = None;
            span.attributes.retain(|attribute| {
                let name = attribute.key.as_str();
                if name == SERVICE_NAME {
                    service = Some(attribute.value.to_string());
                }
                name != SERVICE_NAME && name != SERVICE_FIELD
            });
            let service = self.export.service.clone().or(service);
            let service = service.unwrap_or_else(|| PLATFORM.to_owned());
            parts.entry(service).or_default().push(span);
        }
        parts
    }

    fn client(&self, service: String) -> Result<Client, ExporterBuildError> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&service) {
            return Ok(client.clone());
        }
        let mut client = opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.export.collector)
            .build()?;
        client.set_resource(&self.resource(service.clone()));
        Ok(clients.entry(service).or_insert(Arc::new(client)).clone())
    }

    fn resource(&self, service: String) -> Resource {
        let given = self.export.attributes.iter().cloned();
        Resource::builder_empty()
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("telemetry.sdk.name", "opentelemetry"))
            .with_attribute(KeyValue::new("telemetry.sdk.language", "rust"))
            .with_attributes(given.map(|(name, value)| KeyValue::new(name, value)))
            .with_service_name(service)
            .build()
    }

    fn tell(&self, result: &OTelSdkResult) {
        let refused = self.refused.swap(result.is_err(), Ordering::Relaxed);
        match result {
            Err(error) if !refused => {
                tracing::warn!(%error, "collector does not take spans, they are dropped");
            }
            Ok(()) if refused => tracing::info!("collector takes spans again"),
            _ => {}
        }
    }
}

impl SpanExporter for Exporter {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        let result = self.send(batch);
        self.tell(&result);
        ready(result)
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter")
            .field("export", &self.export)
            .finish_non_exhaustive()
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // Waiting is not allowed everywhere that this may be dropped, and nothing is left to wait for.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
