//! Who may use the door.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use http::{Extensions, HeaderMap, HeaderName, Uri, header};
use sutazai_auth::{AuthError, Permission, Principal, http::Authenticator};
use sutazai_proto::Coded;

use super::{Door, dialect::Dialect};

struct Access {
    authenticator: Authenticator,
    dialect: Dialect,
}

/// Puts the authenticator in front of routes; refusals are said in their dialect.
pub(super) fn guard(
    routes: Router<Door>,
    authenticator: &Authenticator,
    dialect: Dialect,
) -> Router<Door> {
    let access = Arc::new(Access {
        authenticator: authenticator.clone(),
        dialect,
    });
    routes.route_layer(middleware::from_fn_with_state(access, admit))
}

async fn admit(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match judge(
        &access.authenticator,
        request.headers(),
        request.extensions(),
    )
    .await
    {
        Ok(_) => next.run(request).await,
        Err(error) => {
            tracing::info!(path = request.uri().path(), reason = error.reason(), %error, "request refused");
            access.dialect.refuse(&error)
        }
    }
}

async fn judge(
    authenticator: &Authenticator,
    headers: &HeaderMap,
    extensions: &Extensions,
) -> Result<Principal, AuthError> {
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
