//! The client for the nodes that run models: what every chat goes through.
//!
//! It is hyper's own. Measured with callgrind, a request through reqwest costs 33,000 instructions
//! more, a good half of them for reading URLs again and again.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy;
use sutazai_telemetry::propagate;
use tracing::Instrument;

use super::{Counted, Target, USER_AGENT, outcome, span, wire};

/// How many idle connections to one node are kept: as many as it may have slots.
const IDLE_PER_NODE: usize = 1024;

/// An answer whose body arrives.
pub type Answer = Response<AnswerBody>;
/// The body of an answer, frame by frame.
pub type AnswerBody = Incoming;

/// The client for the nodes that run models; clones share its connections.
///
/// It follows no redirect and asks no proxy: the configuration names each node itself. It sets no
/// total time: answers are streams, and only their reader knows how long silence is.
#[derive(Clone, Debug)]
pub struct NodeClient {
    client: wire::Client,
    counted: Arc<Counted>,
}

/// Why a node brought no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum NodeFailure {
    /// The head of an answer did not come.
    #[error(transparent)]
    Request(#[from] legacy::Error),
    /// The body broke off.
    #[error(transparent)]
    Body(#[from] hyper::Error),
}

impl NodeFailure {
    /// Tells whether there was no connection.
    pub fn is_connect(&self) -> bool {
        matches!(self, Self::Request(error) if error.is_connect())
    }

    /// Tells whether the connection took too long.
    pub fn is_timeout(&self) -> bool {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(self);
        while let Some(error) = cause {
            if error.is::<tokio::time::error::Elapsed>() {
                return true;
            }
            cause = error.source();
        }
        false
    }

    fn outcome(&self) -> &'static str {
        match self {
            _ if self.is_timeout() => "timeout",
            _ if self.is_connect() => "unreachable",
            _ => "failed",
        }
    }
}

impl NodeClient {
    /// Makes the client.
    pub fn new(connect_timeout: Duration) -> Self {
        Self {
            client: wire::client(connect_timeout, IDLE_PER_NODE),
            counted: Arc::new(Counted::new("ollama")),
        }
    }

    /// Sends a request and returns as soon as the head of the answer is there.
    ///
    /// # Errors
    /// Fails when no answer comes; an answer of any status is none.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, NodeFailure> {
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        let uri = request.uri();
        let span = span(request.method().as_str(), || Target {
            scheme: uri.scheme_str().unwrap_or_default(),
            server: uri.host().unwrap_or_default(),
            port: uri.port_u16(),
            path: uri.path(),
        });
        span.in_scope(|| propagate::inject(request.headers_mut()));
        let sending = self.client.request(request);
        let result = sending.instrument(span.clone()).await;
        let result = result.map_err(NodeFailure::from);
        let (status, outcome) = match &result {
            Ok(answer) => (Some(answer.status()), outcome(answer.status())),
            Err(failure) => (None, failure.outcome()),
        };
        self.counted.note(&span, status, outcome);
        result
    }
}
