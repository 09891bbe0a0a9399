//! The inner door: every gRPC call carries the token of the service that makes it.

use std::time::Duration;

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::Extensions;
use metrics::counter;
use sutazai_mesh::catalog::ServiceName;
use sutazai_resilience::Deadline;
use sutazai_telemetry::names;
use tonic::Status;

use crate::{
    credential,
    error::{AuthError, Refusal, log_refusal},
    identity::Identity,
    keys::Issuer,
    permission::Permission,
    principal::Principal,
    token::Audience,
};

/// Outside the call graph: everybody may ask everybody how it is.
const DIAGNOSTICS: &str = "/platform.v1.Diagnostics/";

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The service that makes the call.
    pub service: ServiceName,
    /// The user it speaks for.
    pub principal: Option<Principal>,
}

/// Returns what wraps the gRPC routes of a service: callers are verified, or refused with
/// `UNAUTHENTICATED` or `PERMISSION_DENIED`.
pub fn guard(identity: Identity) -> impl FnOnce(Router) -> Router + Send + 'static {
    |routes| routes.layer(middleware::from_fn_with_state(identity, admit))
}

async fn admit(State(identity): State<Identity>, mut request: Request, next: Next) -> Response {
    match judge(&identity, &request) {
        Ok(caller) => {
            counter!(
                names::MESH_CALLS_SERVED_TOTAL,
                "from" => caller.service.as_str(),
                "to" => identity.service().as_str(),
            )
            .increment(1);
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => {
            log_refusal(&error, request.uri().path());
            Status::from(error).into_http::<Body>()
        }
    }
}

fn judge(identity: &Identity, request: &Request) -> Result<Caller, AuthError> {
    let token = credential::bearer(request.headers())?.ok_or(AuthError::Missing)?;
    let to = identity.service();
    let verified = identity.verifier().verify(token, Audience::Service(to));
    let verified = verified.map_err(|error| match error {
        // Its signature held, so its sender may know that it found somebody else.
        AuthError::Invalid(Refusal::Audience) => AuthError::WrongService(to),
        error => error,
    })?;
    let Issuer::Service(from) = verified.issuer else {
        return Err(Refusal::Issuer.into());
    };
    if !from.may_call(to) && !request.uri().path().starts_with(DIAGNOSTICS) {
        return Err(AuthError::Caller { from, to });
    }
    Ok(Caller {
        service: from,
        principal: verified.principal,
    })
}

/// Returns who is calling.
///
/// # Errors
/// `UNAUTHENTICATED` when the route stands outside the guard.
pub fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, Status> {
    request
        .extensions()
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| AuthError::Missing.into())
}

/// Returns the user that the caller speaks for.
///
/// # Errors
/// `UNAUTHENTICATED` when the caller speaks only for itself.
pub fn principal<T>(request: &tonic::Request<T>) -> Result<Principal, Status> {
    caller(request)?
        .principal
        .ok_or_else(|| AuthError::Missing.into())
}

/// Returns who may change how the process behaves, as the log names them: a user who may manage the
/// platform, for whom the backend calls.
///
/// # Errors
/// `UNAUTHENTICATED` outside the guard and when the caller speaks only for itself, `PERMISSION_DENIED`
/// for other callers and users.
pub fn operator(extensions: &Extensions) -> Result<String, Status> {
    let caller = extensions.get::<Caller>().ok_or(AuthError::Missing)?;
    if caller.service != ServiceName::Backend {
        return Err(AuthError::Permission(Permission::SystemManage).into());
    }
    let principal = caller.principal.as_ref().ok_or(AuthError::Missing)?;
    principal.require(Permission::SystemManage)?;
    Ok(format!("{}/{}", principal.tenant, principal.subject))
}

/// Returns until when the caller waits: as the process has read it from the request, else
/// `default` from now.
pub fn deadline<T>(request: &tonic::Request<T>, default: Duration) -> Deadline {
    request
        .extensions()
        .get::<Deadline>()
        .copied()
        .unwrap_or_else(|| Deadline::after(default))
}
