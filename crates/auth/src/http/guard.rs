//! The layer in front of a route.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use axum::{extract::Request, response::Response};
use futures::future::BoxFuture;
use tower::{Layer, Service};

use super::{Authenticator, problem};
use crate::{error::log_refusal, permission::Permission, principal::Principal};

/// Puts [`Guarded`] in front of a route.
#[derive(Clone, Debug)]
pub struct Guard {
    authenticator: Authenticator,
    permission: Permission,
}

/// A route that lets in who has a permission.
#[derive(Clone, Debug)]
pub struct Guarded<S> {
    inner: S,
    guard: Guard,
}

impl Guard {
    pub(super) fn new(authenticator: Authenticator, permission: Permission) -> Self {
        Self {
            authenticator,
            permission,
        }
    }
}

impl<S> Layer<S> for Guard {
    type Service = Guarded<S>;

    fn layer(&self, inner: S) -> Guarded<S> {
        Guarded {
            inner,
            guard: self.clone(),
        }
    }
}

impl<S> Service<Request> for Guarded<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        // The clone is the one to come: the readiness that was polled belongs to this one.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let Guard {
            authenticator,
            permission,
        } = self.guard.clone();
        Box::pin(async move {
            let (headers, extensions) = (request.headers(), request.extensions());
            match authenticator.admit(headers, extensions, permission).await {
                Ok(principal) => {
                    let principal = Principal::clone(&principal);
                    request.extensions_mut().insert(principal);
                    inner.call(request).await
                }
                Err(error) => {
                    let path = request.uri().path();
                    log_refusal(&error, path);
                    Ok(problem(&error, path))
                }
            }
        })
    }
}
