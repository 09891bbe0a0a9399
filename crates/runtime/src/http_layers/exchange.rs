//! One request with its answer, counted and logged once when it is over.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use metrics::{Counter, Histogram};
use pin_project_lite::pin_project;
use sutazai_telemetry::{metrics::ByLabel, names};
use tracing::{Span, error, info, warn};

use crate::admin::PROBE_PATHS;

/// nginx's status for a request without an answer: the client left, or the stop cut it off.
const UNANSWERED: u16 = 499;
const UNANSWERED_NAME: &str = "499";
/// Endpoint of requests that no route takes: raw paths have no bound.
const NO_ROUTE: &str = "unmatched";

/// The instruments of all endpoints of a process.
#[derive(Default)]
pub(super) struct Endpoints(ByLabel<Endpoint>);

/// The instruments of one endpoint, by method and status.
pub(super) struct Endpoint {
    name: String,
    answered: ByLabel<ByLabel<Answered>>,
}

/// Counts the answers with the same labels.
struct Answered {
    total: Counter,
    seconds: Histogram,
}

impl Endpoints {
    /// Returns the endpoint of a route; requests that no route takes share one.
    pub(super) fn of(&self, route: Option<&str>) -> Arc<Endpoint> {
        let name = route.unwrap_or(NO_ROUTE);
        self.0.get(name, || Endpoint {
            name: name.to_owned(),
            answered: ByLabel::default(),
        })
    }
}

/// One request with its answer; dropping it counts and logs it.
pub(super) struct Exchange {
    span: Span,
    started: Instant,
    method: &'static str,
    endpoint: Arc<Endpoint>,
    path: String,
    status: Option<StatusCode>,
    reason: Option<String>,
    whole: bool,
}

impl Exchange {
    pub(super) fn begin(
        span: Span,
        method: &'static str,
        endpoint: Arc<Endpoint>,
        path: String,
    ) -> Self {
        Self {
            span,
            started: Instant::now(),
            method,
            endpoint,
            path,
            status: None,
            reason: None,
            whole: false,
        }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Remembers the head of the answer; `reason` names the error, if it is one.
    pub(super) fn answered(&mut self, status: StatusCode, reason: Option<String>) {
        self.status = Some(status);
        self.reason = reason;
    }

    /// Returns the answer's body; the exchange is over with its last byte.
    pub(super) fn until_end_of(mut self, body: Body) -> Body {
        if body.is_end_stream() {
            self.whole = true;
            return body;
        }
        // A body that is there as a whole does nothing that could be told.
        let there = body.size_hint().exact().is_some();
        let span = if there {
            Span::none()
        } else {
            self.span.clone()
        };
        Body::new(Observed {
            body,
            span,
            exchange: Some(self),
        })
    }

    fn count(&self, status: &str) {
        let took = self.started.elapsed().as_secs_f64();
        let of_method = self.endpoint.answered.get(self.method, ByLabel::default);
        let answered = of_method.get(status, || {
            let labels = [
                ("method", self.method.to_owned()),
                ("endpoint", self.endpoint.name.clone()),
                ("status", status.to_owned()),
            ];
            Answered {
                total: metrics::counter!(names::API_REQUEST_TOTAL, &labels),
                seconds: metrics::histogram!(names::API_REQUEST_DURATION_SECONDS, &labels),
            }
        });
        answered.total.increment(1);
        answered.seconds.record(took);
    }

    fn count_error(&self, error_type: &str) {
        let labels = [
            ("method", self.method.to_owned()),
            ("endpoint", self.endpoint.name.clone()),
            ("error_type", error_type.to_owned()),
        ];
        metrics::counter!(names::API_ERRORS_TOTAL, &labels).increment(1);
    }

    /// Marks the span as failed where the server is at fault, as the conventions ask for.
    fn trace(&self, status: u16, error_type: Option<&str>) {
        if !sutazai_telemetry::spans_are_read() {
            return;
        }
        if self.status.is_some() {
            self.span.record("http.response.status_code", status);
        }
        self.span.record("error.type", error_type);
        if status >= 500 {
            self.span.record("otel.status_code", "ERROR");
        }
    }

    fn log(&self, status: u16, error_type: Option<&str>) {
        if PROBE_PATHS.contains(&self.endpoint.name.as_str()) {
            return;
        }
        let Self {
            method,
            path,
            whole,
            ..
        } = self;
        let took_ms = self.started.elapsed().as_secs_f64() * 1000.0;
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    parent: &self.span,
                    method,
                    path,
                    status,
                    took_ms,
                    whole,
                    error_type,
                    "request answered"
                )
            };
        }
        match status {
            500 => line!(error),
            501.. => line!(warn),
            _ => line!(info),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let name = self
            .status
            .as_ref()
            .map_or(UNANSWERED_NAME, StatusCode::as_str);
        let status = self.status.map_or(UNANSWERED, |status| status.as_u16());
        let failed = status >= 400;
        let error_type = failed.then(|| {
            let reason = self.reason.clone();
            reason.unwrap_or_else(|| error_type(self.status))
        });
        self.count(name);
        if let Some(error_type) = &error_type {
            self.count_error(error_type);
        }
        self.trace(status, error_type.as_deref());
        self.log(status, error_type.as_deref());
    }
}

/// Names an error that carries no problem document.
fn error_type(status: Option<StatusCode>) -> String {
    let text = status.map_or(Some("unanswered"), |status| status.canonical_reason());
    text.unwrap_or("error")
        .to_lowercase()
        .replace([' ', '-', '\''], "_")
}

pin_project! {
    /// Passes frames through as they come, inside the request's span.
    struct Observed {
        #[pin]
        body: Body,
        span: Span,
        exchange: Option<Exchange>,
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut this = self.project();
        let frame = {
            let _entered = this.span.enter();
            ready!(this.body.as_mut().poll_frame(cx))
        };
        let over = match &frame {
            None => true,
            Some(Ok(_)) => this.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        if over && let Some(mut exchange) = this.exchange.take() {
            exchange.whole = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
