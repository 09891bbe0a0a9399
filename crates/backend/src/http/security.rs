//! What every answer says to browsers: headers, and which other origins may read it.

use std::{fmt, str::FromStr};

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// Nothing of the API is a page; the pages of the documentation load from here only. The Swagger UI
/// sets styles from its script.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
const PAGE_POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/// Adds the headers to an answer, where it does not say otherwise itself.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let is_page = ["/docs", "/redoc"]
        .iter()
        .any(|path| request.uri().path().starts_with(path));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let policy = if is_page { PAGE_POLICY } else { API_POLICY };
    set(headers, header::CONTENT_SECURITY_POLICY, policy);
    set(headers, header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(headers, header::REFERRER_POLICY, "no-referrer");
    set(headers, header::X_FRAME_OPTIONS, "DENY");
    // Pages hold nothing of anybody; everything else is somebody's.
    set(
        headers,
        header::CACHE_CONTROL,
        if is_page { "no-cache" } else { "no-store" },
    );
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    headers
        .entry(name)
        .or_insert(HeaderValue::from_static(value));
}

/// Origins of other sites that may use the API from a browser; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedOrigins(Vec<HeaderValue>);

/// The text lists no origins.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOrigins {
    /// `*` would let every site act with the credentials of whoever visits it.
    #[error("`*` is refused, because credentials are allowed: list the origins")]
    Wildcard,
    /// An entry is no origin.
    #[error("`{0}` is no origin: scheme, host and port, like `https://app.example.com`")]
    Entry(String),
}

impl FromStr for AllowedOrigins {
    type Err = InvalidOrigins;

    fn from_str(list: &str) -> Result<Self, InvalidOrigins> {
        let entries = list
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        entries.map(origin).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for AllowedOrigins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, origin) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{}", origin.to_str().unwrap_or_default())?;
        }
        Ok(())
    }
}

fn origin(entry: &str) -> Result<HeaderValue, InvalidOrigins> {
    if entry.contains('*') {
        return Err(InvalidOrigins::Wildcard);
    }
    let invalid = || InvalidOrigins::Entry(entry.to_owned());
    let uri: Uri = entry.parse().map_err(|_| invalid())?;
    let authority = uri.authority().ok_or_else(invalid)?;
    let scheme = uri
        .scheme_str()
        .filter(|scheme| ["http", "https"].contains(scheme));
    // Browsers send exactly this form; anything else would never match.
    let canonical = format!("{}://{authority}", scheme.ok_or_else(invalid)?);
    if canonical != entry || authority.as_str().contains('@') {
        return Err(invalid());
    }
    HeaderValue::try_from(canonical).map_err(|_| invalid())
}

impl AllowedOrigins {
    /// Makes the layer that answers preflight requests and names the origin in answers; none is
    /// needed where no other origin is allowed.
    pub(super) fn layer(self) -> Option<CorsLayer> {
        if self.0.is_empty() {
            return None;
        }
        let layer = CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0))
            .allow_credentials(true)
            .allow_methods([Method::GET, Method::POST, Method::DELETE])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
                HeaderName::from_static("traceparent"),
                HeaderName::from_static("x-request-id"),
            ])
            .expose_headers([
                header::LINK,
                header::LOCATION,
                header::RETRY_AFTER,
                HeaderName::from_static("idempotency-replayed"),
                HeaderName::from_static("x-request-id"),
            ]);
        Some(layer)
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    use super::*;

    #[test]
    fn sec_11_a_wildcard_is_refused() {
        for list in ["*", "https://a.example,*", "https://*.example.com"] {
            assert_eq!(
                list.parse::<AllowedOrigins>(),
                Err(InvalidOrigins::Wildcard),
                "{list}"
            );
        }
    }

    #[test]
    fn sec_11_only_origins_are_origins() {
        for entry in [
            "null",
            "example.com",
            "ftp://example.com",
            "https://example.com/",
            "https://a@b.c",
            "https://example.com/x",
            "//example.com",
        ] {
            let expected = Err(InvalidOrigins::Entry(entry.to_owned()));
            assert_eq!(entry.parse::<AllowedOrigins>(), expected, "{entry}");
        }
        let list = "https://a.example,http://127.0.0.1:3000";
        assert_eq!(list.parse::<AllowedOrigins>().unwrap().to_string(), list);
        assert_eq!("".parse(), Ok(AllowedOrigins::default()));
    }

    #[tokio::test]
    async fn sec_11_only_listed_origins_are_named() {
        let origins: AllowedOrigins = "https://a.example".parse().unwrap();
        let app = Router::new()
            .route("/", get(async || ""))
            .layer(origins.layer().unwrap());
        for (origin, named) in [
            ("https://a.example", true),
            ("https://a.example.evil", false),
            ("http://a.example", false),
            ("null", false),
        ] {
            let request = http::Request::get("/").header(header::ORIGIN, origin);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let answered = response.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(
                answered.map(|value| value == origin),
                named.then_some(true),
                "{origin}"
            );
        }
    }
}
