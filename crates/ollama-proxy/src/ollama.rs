//! The API of an Ollama node, as far as the proxy itself speaks it.

mod address;
mod lines;
mod wire;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use serde::de::DeserializeOwned;
use sutazai_mesh::http::{Answer, AnswerBody, NodeClient, NodeFailure};

pub(crate) use address::{InvalidAddress, NodeUrl};
pub(crate) use lines::{Lines, MAX_LINE};
pub(crate) use wire::{
    ChatBody, ChatLine, ChatMessage, ChatOptions, Entry, Listed, words_of_error,
};
use wire::{Listing, Version};

/// Header by which the built-in demo node says what it is, on every answer.
pub(crate) const DEMO_HEADER: &str = "x-sutazai-demo";

/// Largest list that is read from a node, in bytes.
const LIST_LIMIT: usize = 16 * 1024 * 1024;

/// Longest error text that is kept from a node, in bytes.
const MESSAGE_LIMIT: usize = 2 * 1024;

/// Speaks to any node.
#[derive(Clone)]
pub(crate) struct Client(NodeClient);

/// What one health check found.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) version: String,
    pub(crate) demo: bool,
    /// Models on disk, in the node's order.
    pub(crate) models: Vec<Listed>,
    /// Models in memory.
    pub(crate) loaded: Vec<Listed>,
}

/// Why a health check failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("no answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    #[error("{}", sutazai_proto::status::chain(.0))]
    Http(#[from] NodeFailure),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error("a list is longer than {LIST_LIMIT} bytes")]
    TooLong,
    #[error("a list can not be read: {0}")]
    Json(#[from] serde_json::Error),
}

impl CheckError {
    /// Tells whether the node may only be busy, rather than gone.
    pub(crate) fn is_slowness(&self) -> bool {
        match self {
            Self::Late(_) => true,
            Self::Http(error) => error.is_timeout(),
            Self::Status(_) | Self::TooLong | Self::Json(_) => false,
        }
    }
}

impl Client {
    pub(crate) fn new(nodes: NodeClient) -> Self {
        Self(nodes)
    }

    /// Sends a request whose answer is read by the caller.
    pub(crate) async fn post(
        &self,
        node: &NodeUrl,
        path: &'static str,
        content_type: HeaderValue,
        body: Bytes,
    ) -> Result<Answer, NodeFailure> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = node.join(path);
        let headers = request.headers_mut();
        headers.insert(header::HOST, node.host());
        headers.insert(header::CONTENT_TYPE, content_type);
        self.0.send(request).await
    }

    /// Asks a node what it is and has; loads nothing.
    pub(crate) async fn check(
        &self,
        node: &NodeUrl,
        limit: Duration,
    ) -> Result<Health, CheckError> {
        let lists = async {
            tokio::try_join!(
                self.get::<Version>(node, "/api/version"),
                self.get::<Listing>(node, "/api/tags"),
                self.get::<Listing>(node, "/api/ps"),
            )
        };
        let ((version, demo), (models, _), (loaded, _)) = tokio::time::timeout(limit, lists)
            .await
            .map_err(|_| CheckError::Late(limit))??;
        Ok(Health {
            version: version.version,
            demo,
            models: models.read()?,
            loaded: loaded.read()?,
        })
    }

    /// Reads one small document, and whether a demo node sent it.
    async fn get<T: DeserializeOwned>(
        &self,
        node: &NodeUrl,
        path: &'static str,
    ) -> Result<(T, bool), CheckError> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = node.join(path);
        let answer = self.0.send(request).await?;
        let status = answer.status();
        if status.is_client_error() || status.is_server_error() {
            return Err(CheckError::Status(status));
        }
        let demo = answer.headers().contains_key(DEMO_HEADER);
        let body = read(answer.into_body(), LIST_LIMIT)
            .await?
            .ok_or(CheckError::TooLong)?;
        Ok((serde_json::from_slice(&body)?, demo))
    }
}

/// Reads the words of an error answer, in either dialect, as far as they are worth telling.
pub(crate) async fn error_message(answer: Answer) -> String {
    let body = read(answer.into_body(), MESSAGE_LIMIT)
        .await
        .ok()
        .flatten()
        .unwrap_or_default();
    words_of_error(&body)
}

/// Reads a whole body; nothing when it is longer than the limit.
async fn read(mut body: AnswerBody, limit: usize) -> Result<Option<Bytes>, NodeFailure> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let chunk = frame?.into_data().unwrap_or_default();
        if read.len() + chunk.len() > limit {
            return Ok(None);
        }
        read.extend_from_slice(&chunk);
    }
    Ok(Some(read.freeze()))
}
