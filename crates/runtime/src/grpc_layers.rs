//! What happens around every gRPC call: trace, one log line, deadline, and the end of a panic.

use std::{any::Any, time::Instant};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    ErrorCode,
    status::{grpc_code, grpc_name},
};
use sutazai_resilience::Deadline;
use sutazai_telemetry::propagate;
use tonic::{Code, Status};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::{Instrument, Level, Span, debug, error, field, info, info_span, warn};

use crate::{
    http_layers::{RequestId, panic_text},
    serve::{End, Until},
};

/// Name of the header with the time a caller is willing to wait.
const TIMEOUT: &str = "grpc-timeout";

pub(crate) fn wrap(routes: Router, service: ServiceName) -> Router {
    routes
        .layer(middleware::from_fn(within_deadline))
        .layer(CatchPanicLayer::custom(answer_panic))
        .layer(middleware::from_fn_with_state(service, observe))
}

/// Joins the caller's trace and writes one line per call, at the level of its outcome.
async fn observe(State(service): State<ServiceName>, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    let method = request.uri().path().to_owned();
    let name = method.trim_start_matches('/');
    let span = info_span!(
        parent: None,
        "grpc",
        "otel.name" = name,
        "otel.kind" = "server",
        "otel.status_code" = field::Empty,
        service = service.as_str(),
        request_id = id.as_str(),
        "rpc.system.name" = "grpc",
        "rpc.method" = name,
        "rpc.response.status_code" = field::Empty,
        "error.type" = field::Empty,
    );
    propagate::set_parent(&span, service.as_str(), request.headers());
    let started = Instant::now();
    async move {
        let response = next.run(request).await;
        // Once a stream has begun its status is in the trailers; its handler logs its fault.
        let code = grpc_code(response.headers());
        trace(code);
        let took_ms = started.elapsed().as_secs_f64() * 1000.0;
        let status = code.description();
        match level(code) {
            Level::ERROR => error!(rpc.method = method, status, took_ms, "call failed"),
            Level::WARN => warn!(rpc.method = method, status, took_ms, "call failed"),
            Level::INFO => info!(rpc.method = method, status, took_ms, "call refused"),
            _ => debug!(rpc.method = method, status, took_ms, "call answered"),
        }
        response
    }
    .instrument(span)
    .await
}

/// Marks the span with the outcome; the conventions blame a server for these codes only.
fn trace(code: Code) {
    let (span, name) = (Span::current(), grpc_name(code));
    span.record("rpc.response.status_code", name);
    let failed = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Unimplemented,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    if failed.contains(&code) {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", name);
    }
}

fn level(code: Code) -> Level {
    match code {
        Code::Ok | Code::Unimplemented => Level::DEBUG,
        code => ErrorCode::from_grpc(code).policy().level,
    }
}

/// Gives the call its deadline and ends it there, whether it has begun to answer or not.
async fn within_deadline(mut request: Request, next: Next) -> Response {
    let Some(text) = request.headers().get(TIMEOUT) else {
        return next.run(request).await;
    };
    let Some(deadline) = text.to_str().ok().and_then(Deadline::from_grpc_timeout) else {
        return Status::invalid_argument("the header grpc-timeout is malformed").into_http();
    };
    request.extensions_mut().insert(deadline);
    match deadline.run(next.run(request)).await {
        Err(elapsed) => Status::deadline_exceeded(elapsed.to_string()).into_http(),
        Ok(response) => response.map(|body| {
            let end = Box::pin(async move {
                // Only the end of the time ends this future.
                let Err(elapsed) = deadline
                    .run(std::future::pending::<std::convert::Infallible>())
                    .await;
                End::Trailers(Status::deadline_exceeded(elapsed.to_string()))
            });
            Body::new(Until::new(body, end, ()))
        }),
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer asks for this signature"
)]
fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    error!(panic = panic_text(&*panic), "call panicked");
    Status::internal("internal error").into_http()
}
