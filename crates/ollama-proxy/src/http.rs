//! The proxy's own door: Ollama's API and OpenAI's, passed through to the fleet.

mod access;
mod asked;
mod dialect;
mod forward;
mod framer;
mod native;
mod openai;

use std::sync::Arc;

use axum::Router;
use sutazai_auth::http::Authenticator;

use crate::fleet::Fleet;

/// What the handlers need.
#[derive(Clone)]
struct Door {
    fleet: Arc<Fleet>,
    /// Largest body of a request, in bytes.
    body_limit: usize,
}

/// Returns all routes, each behind the authenticator.
pub(crate) fn routes(
    fleet: Arc<Fleet>,
    authenticator: &Authenticator,
    body_limit: usize,
) -> Router {
    let door = Door { fleet, body_limit };
    let native = access::guard(native::routes(), authenticator, dialect::Dialect::Native);
    let openai = access::guard(openai::routes(), authenticator, dialect::Dialect::OpenAi);
    native.merge(openai).with_state(door)
}
