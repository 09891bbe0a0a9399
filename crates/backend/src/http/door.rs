//! Who may pass to a route, for the router and for the document alike.

use axum::{
    extract::{Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
};
use sutazai_auth::{
    AuthError, Permission, Principal,
    http::{Authenticator, guard},
};
use utoipa_axum::router::{UtoipaMethodRouter, UtoipaMethodRouterExt};

use super::{
    input::params::Params,
    limit::{self, Limits},
    openapi,
    problem::Failure,
};

/// Puts the guard in front of routes and says so in the document.
#[derive(Clone)]
pub(super) struct Door {
    authenticator: Authenticator,
    limits: Limits,
}

impl Door {
    pub(super) fn new(authenticator: Authenticator, limits: Limits) -> Self {
        Self {
            authenticator,
            limits,
        }
    }

    /// Lets in everybody.
    pub(super) fn open(mut routes: UtoipaMethodRouter) -> UtoipaMethodRouter {
        openapi::open(&mut routes.1);
        strict(routes)
    }

    /// Lets in who has a permission, as often as the class of the route allows. Other methods of the path are not guarded by it: they answer
    /// for themselves, or with 405.
    pub(super) fn needs(
        &self,
        permission: Permission,
        mut routes: UtoipaMethodRouter,
    ) -> UtoipaMethodRouter {
        openapi::guarded(&mut routes.1, Some(permission));
        let guard = guard(self.authenticator.clone(), permission);
        let limits = self.limits.of(Some(permission));
        strict(routes).map(|methods| {
            let counted = methods.route_layer(from_fn_with_state(limits, limit::enforce));
            counted.route_layer(guard)
        })
    }

    /// Lets in everybody with a credential that holds.
    pub(super) fn known(&self, mut routes: UtoipaMethodRouter) -> UtoipaMethodRouter {
        openapi::guarded(&mut routes.1, None);
        let layer = from_fn_with_state(self.authenticator.clone(), admit_known);
        let limits = self.limits.of(None);
        strict(routes).map(|methods| {
            let counted = methods.route_layer(from_fn_with_state(limits, limit::enforce));
            counted.route_layer(layer)
        })
    }
}

/// Refuses every parameter where the document knows none; operations that know some refuse the
/// others themselves.
fn strict(routes: UtoipaMethodRouter) -> UtoipaMethodRouter {
    if openapi::reads_query(&routes.1) {
        return routes;
    }
    routes.map(|methods| methods.route_layer(from_fn(refuse_parameters)))
}

async fn refuse_parameters(params: Params, request: Request, next: Next) -> Response {
    match params.finish() {
        Ok(()) => next.run(request).await,
        Err(error) => Failure::from(error).into_response(),
    }
}

async fn admit_known(
    State(authenticator): State<Authenticator>,
    mut request: Request,
    next: Next,
) -> Response {
    let principal = authenticator.authenticate(request.headers()).await;
    match principal.and_then(|known| known.ok_or(AuthError::Missing)) {
        Ok(principal) => {
            request
                .extensions_mut()
                .insert(Principal::clone(&principal));
            next.run(request).await
        }
        Err(error) => Failure::from(error).into_response(),
    }
}
