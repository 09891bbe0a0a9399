//! Who may use the door.
//!
//! A handler gets its [`Door`] from here alone, out of the request: one that any caller reaches without
//! being judged has nothing to answer with. Beside a layer of axum's this saves the copies and boxes of
//! one more route for each request.

use std::sync::Arc;

use axum::{extract::FromRequestParts, response::Response};
use http::{Extensions, HeaderMap, HeaderName, Uri, header, request::Parts};
use sutazai_auth::{AuthError, Permission, http::Authenticator};
use sutazai_proto::Coded;

use super::{Door, dialect::Dialect};

/// The door, and who opens it; refusals are said in a dialect.
#[derive(Clone)]
pub(super) struct Locked(Arc<Access>);

struct Access {
    door: Door,
    authenticator: Authenticator,
    dialect: Dialect,
}

impl Locked {
    pub(super) fn new(door: Door, authenticator: Authenticator, dialect: Dialect) -> Self {
        Self(Arc::new(Access {
            door,
            authenticator,
            dialect,
        }))
    }
}

impl FromRequestParts<Locked> for Door {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, locked: &Locked) -> Result<Self, Response> {
        let access = &locked.0;
        match judge(&access.authenticator, &parts.headers, &parts.extensions).await {
            Ok(()) => Ok(access.door.clone()),
            Err(error) => {
                tracing::info!(path = parts.uri.path(), reason = error.reason(), %error, "request refused");
                Err(access.dialect.refuse(&error))
            }
        }
    }
}

async fn judge(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<(), AuthError> {
    // A browser on this machine brings pages of strangers along, and their requests come from
    // loopback too: without a credential they get no further than a remote peer.
    let nothing = Extensions::new();
    let bare = !headers.contains_key(header::AUTHORIZATION);
    let peer = if bare && is_from_here(headers) {
        extensions
    } else {
        &nothing
    };
    authenticator
        .admit(headers, peer, Permission::InferenceUse)
        .await
        .map(drop)
}

/// Tells whether a request was written for this machine: by its own pages or by no page at all.
fn is_from_here(headers: &HeaderMap) -> bool {
    let is_local = |name: HeaderName| {
        headers
            .get_all(name)
            .iter()
            .all(|value| value.to_str().is_ok_and(names_this_machine))
    };
    is_local(header::HOST) && is_local(header::ORIGIN)
}

/// Reads a host with optional port, or an origin.
fn names_this_machine(text: &str) -> bool {
    let authority = text
        .split_once("://")
        .map_or(text, |(_, authority)| authority);
    let Ok(uri) = authority.parse::<Uri>() else {
        return false;
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_requests_for_this_machine_are_open_without_a_credential() {
        for host in [
            "127.0.0.1:10011",
            "localhost",
            "localhost:10011",
            "[::1]:10011",
            "127.9.9.9",
        ] {
            assert!(is_from_here(&headers(&[(header::HOST, host)])), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example:80",
            "10.0.0.7:10011",
            "",
            "a b",
        ] {
            assert!(!is_from_here(&headers(&[(header::HOST, host)])), "{host}");
        }
        let host = (header::HOST, "localhost:10011");
        for (origin, open) in [
            ("http://localhost:3000", true),
            ("http://127.0.0.1:8080", true),
            ("https://evil.example", false),
            ("null", false),
        ] {
            let headers = headers(&[host.clone(), (header::ORIGIN, origin)]);
            assert_eq!(is_from_here(&headers), open, "{origin}");
        }
    }
}
