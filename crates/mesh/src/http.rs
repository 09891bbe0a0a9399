//! The named clients for foreign HTTP servers; nothing else in the platform makes one.

mod nodes;
pub(crate) mod wire;

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use metrics::{Counter, counter};
use reqwest::{Client, Error, IntoUrl, Method, RequestBuilder, Response, redirect};
use sutazai_telemetry::{metrics::ByLabel, names, propagate};
use tracing::{Instrument, Span, field, info_span};

pub use nodes::{Answer, AnswerBody, NodeClient, NodeFailure};

/// How many idle connections to one server are kept, and for how long.
const IDLE_PER_SERVER: usize = 32;
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the kernel asks on a quiet connection whether its peer is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
pub(crate) const USER_AGENT: &str = concat!("sutazai/", env!("CARGO_PKG_VERSION"));

/// Why a request brought no answer.
pub type Failure = Error;

/// A client for one kind of foreign server; clones share its connections.
///
/// It sets no total time: answers are streams, and only their reader knows how long silence is.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client,
    counted: Arc<Counted>,
}

/// Counts the requests of one client.
#[derive(Debug)]
struct Counted {
    client: &'static str,
    outcomes: ByLabel<Counter>,
}

/// Where a request goes.
struct Target<'a> {
    scheme: &'a str,
    server: &'a str,
    port: Option<u16>,
    path: &'a str,
}

impl HttpClient {
    /// Makes a client for single questions to nodes that run models; their work goes through
    /// [`NodeClient`].
    ///
    /// It follows no redirect and asks no proxy: the configuration names each node itself.
    ///
    /// # Errors
    /// Fails when TLS can not be set up, for example without any root certificate.
    pub fn ollama(connect_timeout: Duration) -> Result<Self, Error> {
        Self::build("ollama", connect_timeout)
    }

    /// Makes the client for servers that are neither model nodes nor agents.
    ///
    /// # Errors
    /// Fails when TLS can not be set up, for example without any root certificate.
    pub fn external(connect_timeout: Duration) -> Result<Self, Error> {
        Self::build("external", connect_timeout)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that makes HTTP clients"
    )]
    fn build(name: &'static str, connect_timeout: Duration) -> Result<Self, Error> {
        // Fails only where the process has a provider already, and any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .tcp_keepalive(TCP_KEEPALIVE)
            .pool_max_idle_per_host(IDLE_PER_SERVER)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .build()?;
        Ok(Self {
            client,
            counted: Arc::new(Counted::new(name)),
        })
    }

    /// Starts a request; [`Self::send`] sends it.
    pub fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    ///
    /// # Errors
    /// Fails when the request is malformed or no answer comes; an answer of any status is none.
    pub async fn send(&self, request: RequestBuilder) -> Result<Response, Error> {
        let mut request = request.build()?;
        let url = request.url();
        let span = span(request.method().as_str(), || Target {
            scheme: url.scheme(),
            server: url.host_str().unwrap_or_default(),
            port: url.port_or_known_default(),
            path: url.path(),
        });
        span.in_scope(|| propagate::inject(request.headers_mut()));
        let sending = self.client.execute(request);
        let result = sending.instrument(span.clone()).await;
        let (status, outcome) = match &result {
            Ok(response) => (Some(response.status()), outcome(response.status())),
            Err(error) if error.is_timeout() => (None, "timeout"),
            Err(error) if error.is_connect() => (None, "unreachable"),
            Err(_) => (None, "failed"),
        };
        self.counted.note(&span, status, outcome);
        result
    }
}

impl Counted {
    fn new(client: &'static str) -> Self {
        Self {
            client,
            outcomes: ByLabel::default(),
        }
    }

    /// Counts a request, and says in its span how it ended.
    fn note(&self, span: &Span, status: Option<StatusCode>, outcome: &'static str) {
        if let Some(status) = status {
            span.record("http.response.status_code", status.as_u16());
        }
        if outcome != "ok" {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", outcome);
        }
        let counter = self.outcomes.get(outcome, || {
            counter!(
                names::HTTP_CLIENT_REQUESTS_TOTAL,
                "client" => self.client,
                "outcome" => outcome,
            )
        });
        counter.increment(1);
    }
}

/// Makes the span of a request; what of its URL may be a secret is left out. Where nobody reads spans
/// there is none, and the request belongs to the span around it.
fn span<'a>(method: &str, target: impl FnOnce() -> Target<'a>) -> Span {
    if !sutazai_telemetry::spans_are_read() {
        return Span::none();
    }
    let Target {
        scheme,
        server,
        port,
        path,
    } = target();
    let port = port.unwrap_or(if scheme == "https" { 443 } else { 80 });
    info_span!(
        "http.client",
        "otel.name" = method,
        "otel.kind" = "client",
        "otel.status_code" = field::Empty,
        "http.request.method" = method,
        "http.response.status_code" = field::Empty,
        "server.address" = server,
        "server.port" = port,
        "url.full" = format!("{scheme}://{server}:{port}{path}"),
        "error.type" = field::Empty,
    )
}

fn outcome(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=399 => "ok",
        400..=499 => "client_error",
        _ => "server_error",
    }
}
