//! A collector of OpenTelemetry traces: takes spans over OTLP with gRPC, and keeps them.

use std::{
    collections::BTreeMap,
    fmt::Write,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use futures::StreamExt;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::{self as wire, span::SpanKind, status::StatusCode},
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

/// A running collector; it stops when it is dropped.
#[derive(Debug)]
pub struct Collector {
    address: SocketAddr,
    facts: Arc<Facts>,
    server: JoinHandle<()>,
}

/// One span as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// `service.name` of its resource.
    pub service: String,
    /// Everything about its resource, the service's name among it.
    pub resource: BTreeMap<String, String>,
    /// Id of its trace, 32 hexadecimal digits.
    pub trace: String,
    /// Its id, 16 hexadecimal digits.
    pub id: String,
    /// Id of its parent; nothing begins a trace.
    pub parent: Option<String>,
    /// Its name.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: &'static str,
    /// Its attributes as text.
    pub attributes: BTreeMap<String, String>,
    /// Whether it is marked as failed.
    pub failed: bool,
}

#[derive(Debug, Default)]
struct Facts {
    spans: Mutex<Vec<Span>>,
    connections: Mutex<usize>,
}

impl Collector {
    /// Starts on a free port.
    ///
    /// # Panics
    /// The machine gives no port.
    #[expect(clippy::expect_used, reason = "a fake is part of a test")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let facts = Arc::new(Facts::default());
        let seen = facts.clone();
        let incoming = TcpListenerStream::new(listener).inspect(move |_| {
            *seen.connections.lock() += 1;
        });
        let service = TraceServiceServer::new(Receiver(facts.clone()));
        let serving = Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming);
        let server = tokio::spawn(async move {
            serving.await.expect("the collector serves");
        });
        Self {
            address,
            facts,
            server,
        }
    }

    /// Returns where it listens, as exporters want to know.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.facts.spans.lock().clone()
    }

    /// Returns the spans of one trace so far.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        let mut spans = self.spans();
        spans.retain(|span| span.trace == id);
        spans
    }

    /// Returns how often somebody connected.
    pub fn connections(&self) -> usize {
        *self.facts.connections.lock()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Receiver(Arc<Facts>);

#[tonic::async_trait]
impl TraceService for Receiver {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut spans = Vec::new();
        for group in request.into_inner().resource_spans {
            let resource = texts(group.resource.unwrap_or_default().attributes);
            let scopes = group.scope_spans.into_iter();
            spans.extend(
                scopes
                    .flat_map(|scope| scope.spans)
                    .map(|span| read(span, &resource)),
            );
        }
        self.0.spans.lock().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn read(span: wire::Span, resource: &BTreeMap<String, String>) -> Span {
    let kind = match span.kind() {
        SpanKind::Server => "server",
        SpanKind::Client => "client",
        SpanKind::Producer => "producer",
        SpanKind::Consumer => "consumer",
        SpanKind::Internal | SpanKind::Unspecified => "internal",
    };
    let failed = span
        .status
        .as_ref()
        .is_some_and(|status| status.code() == StatusCode::Error);
    Span {
        service: resource.get("service.name").cloned().unwrap_or_default(),
        resource: resource.clone(),
        trace: hexadecimal(&span.trace_id),
        id: hexadecimal(&span.span_id),
        parent: (!span.parent_span_id.is_empty()).then(|| hexadecimal(&span.parent_span_id)),
        name: span.name,
        kind,
        attributes: texts(span.attributes),
        failed,
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let pairs = attributes.into_iter();
    pairs
        .map(|pair| (pair.key, text(pair.value.unwrap_or_default())))
        .collect()
}

fn text(value: AnyValue) -> String {
    match value.value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(is)) => is.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a String can not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
