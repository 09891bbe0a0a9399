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
use http::StatusCode;
use sutazai_auth::http::Authenticator;

use self::{access::Locked, dialect::Dialect};
use crate::fleet::Fleet;

/// What the handlers need; who has it was let in (see [`access`]).
#[derive(Clone)]
struct Door(Arc<Inside>);

/// What is behind the door.
struct Inside {
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
    let door = Door(Arc::new(Inside { fleet, body_limit }));
    let locked = |dialect| Locked::new(door.clone(), authenticator.clone(), dialect);
    let open = |routes: Router<Locked>, dialect| {
        // Which methods there are is told to those who are let in, as everything else.
        let routes =
            routes.method_not_allowed_fallback(async |_: Door| StatusCode::METHOD_NOT_ALLOWED);
        routes.with_state(locked(dialect))
    };
    open(native::routes(), Dialect::Native).merge(open(openai::routes(), Dialect::OpenAi))
}
