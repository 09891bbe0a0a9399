//! Carries the requests of consulrs over our own client.
//!
//! Its own is reqwest's of 2021, with a second network stack, and OpenSSL beside rustls. With it each
//! service was 2 MiB larger on the disk and 6 MiB in memory.

use std::{error::Error, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::Uri;
use http_body_util::{BodyExt, Full};
use rustify::{client, errors::ClientError};
use rustify_http::{Request, Response, response};

use crate::http::wire;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Idle connections that are kept: each watch holds one, and the rest asks one after the other.
const IDLE: usize = 8;

/// Sends requests to one agent of Consul.
#[derive(Debug)]
pub(super) struct Transport {
    client: wire::Client,
    base: String,
}

impl Transport {
    /// Sends to this address, `http://host:port`.
    pub(super) fn new(base: String) -> Self {
        Self {
            client: wire::client(CONNECT_LIMIT, IDLE),
            base,
        }
    }

    /// Tells whether an instance itself answers at this address, and well.
    pub(super) async fn is_well(&self, uri: Uri) -> bool {
        let answer = self.client.get(uri).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }
}

#[async_trait]
impl client::Client for Transport {
    async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, ClientError> {
        let (url, method) = (request.uri().to_string(), request.method().to_string());
        let request = translated(request).map_err(|error| ClientError::GenericError {
            source: error.into(),
        })?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| ClientError::RequestError {
            source: error.into(),
            url,
            method,
        })?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        let mut answer = response::Builder::new().status(head.status.as_u16());
        for (name, value) in &head.headers {
            answer = answer.header(name.as_str(), value.as_bytes());
        }
        answer.body(body.to_vec()).map_err(broken)
    }

    fn base(&self) -> &str {
        &self.base
    }
}

/// Writes a request with the types of today.
fn translated(request: Request<Vec<u8>>) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let (head, body) = request.into_parts();
    let mut request = http::Request::builder()
        .method(head.method.as_str())
        .uri(head.uri.to_string());
    for (name, value) in &head.headers {
        request = request.header(name.as_str(), value.as_bytes());
    }
    request.body(Full::from(body))
}

fn broken(error: impl Error + Send + Sync + 'static) -> ClientError {
    ClientError::ResponseError {
        source: error.into(),
    }
}
