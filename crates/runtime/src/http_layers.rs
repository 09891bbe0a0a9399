//! What happens around every HTTP request: id, trace, metrics, one log line, bounds, and one form
//! for errors.

mod exchange;
mod observe;
mod problem;
mod request_id;

use std::{any::Any, time::Duration};

use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware,
    response::{IntoResponse, Response},
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{ErrorCode, Problem};
use tower::ServiceBuilder;
use tower_http::{catch_panic::CatchPanicLayer, timeout::RequestBodyTimeoutLayer};
use tracing::error;

pub(crate) use request_id::RequestId;

/// Largest body that extractors read, in bytes; a route for uploads sets its own limit.
const BODY_BYTES: usize = 1024 * 1024;
/// Longest silence inside the body of a request.
const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Puts the layers around all routes of a process.
pub(crate) fn wrap(routes: Router, service: ServiceName) -> Router {
    let observer = observe::Observer::new(service);
    // One stack and not four: the router boxes each layer's service, future and body again.
    routes.layer(
        ServiceBuilder::new()
            .layer(middleware::from_fn_with_state(observer, observe::observe))
            .layer(CatchPanicLayer::custom(answer_panic))
            .layer(RequestBodyTimeoutLayer::new(BODY_SILENCE))
            .layer(DefaultBodyLimit::max(BODY_BYTES)),
    )
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the layer asks for this signature"
)]
fn answer_panic(panic: Box<dyn Any + Send>) -> Response {
    error!(panic = panic_text(&*panic), "request panicked");
    let detail = "an internal error occurred; the logs have it";
    Problem::new(ErrorCode::Internal, "internal", detail)
        .into_response()
        .into_response()
}

/// Returns what a panic said; it is for the log only.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no text)")
}
