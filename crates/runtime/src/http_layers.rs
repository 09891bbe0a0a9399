//! What happens around every HTTP request: id, trace, metrics, one log line, bounds, and one form
//! for errors.

mod exchange;
mod observe;
mod problem;
mod request_id;

use std::any::Any;

use axum::{
    Router,
    response::{IntoResponse, Response},
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{ErrorCode, Problem};
use tracing::error;

pub(crate) use request_id::RequestId;

/// Puts the layer around all routes of a process.
pub(crate) fn wrap(routes: Router, service: ServiceName) -> Router {
    routes.layer(observe::Observer::new(service))
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
