//! The outer doors: a user's token or an API key in the `Authorization` header.

mod guard;

use std::{net::SocketAddr, sync::Arc};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    response::{IntoResponse, Response},
};
use http::{Extensions, HeaderMap, request::Parts};
use sutazai_proto::Problem;

use crate::{
    api_key::{self, KeyHash},
    credential,
    error::{AuthError, Refusal},
    permission::Permission,
    principal::Principal,
    store::Keys,
    token::{Audience, Verifier},
};

pub use guard::{Guard, Guarded};

/// Finds out on whose behalf a request is made.
#[derive(Clone, Debug)]
pub struct Authenticator {
    verifier: Verifier,
    keys: Option<Keys>,
    on_loopback: Option<Arc<Principal>>,
}

/// The principal of a guarded route.
#[derive(Clone, Debug)]
pub struct Authenticated(pub Principal);

impl Authenticator {
    /// Makes one that accepts users' tokens, and API keys where there is a store of them.
    pub fn new(verifier: Verifier, keys: Option<Keys>) -> Self {
        Self {
            verifier,
            keys,
            on_loopback: None,
        }
    }

    /// Lets requests from this machine that carry no credential act as the given principal. A
    /// credential that is sent is judged all the same.
    ///
    /// The server has to hand in the peer's address (axum's `ConnectInfo<SocketAddr>`); without
    /// it nothing is open.
    #[must_use]
    pub fn open_on_loopback(mut self, principal: Principal) -> Self {
        self.on_loopback = Some(Arc::new(principal));
        self
    }

    /// Returns the principal of the credential in the headers; `None` when there is no credential.
    ///
    /// # Errors
    /// [`AuthError`] when there is one and it does not hold, or when the store can not be asked.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
    ) -> Result<Option<Arc<Principal>>, AuthError> {
        let Some(credential) = credential::bearer(headers)? else {
            return Ok(None);
        };
        if credential.starts_with(api_key::PREFIX) {
            let keys = self.keys.as_ref().ok_or(Refusal::KeysNotAccepted)?;
            let hash = KeyHash::of(credential)?;
            return keys.find_by_hash(hash).await.map(Some);
        }
        let verified = self.verifier.verify(credential, Audience::Doors)?;
        Ok(verified.principal.map(Arc::new))
    }

    /// Returns the principal of a request that has the permission, for doors that answer
    /// refusals in a dialect of their own; the others use [`guard`].
    ///
    /// # Errors
    /// [`AuthError`] when there is no credential, or one that does not hold or does not suffice.
    pub async fn admit(
        &self,
        headers: &HeaderMap,
        extensions: &Extensions,
        permission: Permission,
    ) -> Result<Arc<Principal>, AuthError> {
        let principal = match self.authenticate(headers).await? {
            Some(principal) => principal,
            None => self.stand_in(extensions).ok_or(AuthError::Missing)?,
        };
        principal.require(permission)?;
        Ok(principal)
    }

    fn stand_in(&self, extensions: &Extensions) -> Option<Arc<Principal>> {
        let principal = self.on_loopback.as_ref()?;
        let ConnectInfo(peer) = extensions.get::<ConnectInfo<SocketAddr>>()?;
        peer.ip()
            .to_canonical()
            .is_loopback()
            .then(|| Arc::clone(principal))
    }
}

/// Returns the layer of a route (for `route_layer`): it admits those with the permission, puts
/// their [`Principal`] into the extensions of the request and answers the others with a problem
/// document.
pub fn guard(authenticator: Authenticator, permission: Permission) -> Guard {
    Guard::new(authenticator, permission)
}

impl<S: Send + Sync> FromRequestParts<S> for Authenticated {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Response> {
        // Absent only on a route outside the guard, which then lets nobody in.
        let principal = parts.extensions.get::<Principal>().cloned();
        principal
            .map(Self)
            .ok_or_else(|| problem(&AuthError::Missing, parts.uri.path()))
    }
}

fn problem(error: &AuthError, path: &str) -> Response {
    let mut problem = Problem::of(error);
    problem.instance = Some(path.to_owned());
    problem.into_response().into_response()
}
