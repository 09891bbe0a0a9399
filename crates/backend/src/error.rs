//! What can go wrong behind the API, and how a caller should react.

use std::{sync::Arc, time::Duration};

use sutazai_auth::AuthError;
use sutazai_persistence::{DatabaseError, cache::CacheError, redis::RedisError};
use sutazai_proto::{Coded, Details, ErrorCode, RemoteError};

/// A failure of an operation of the API.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller has no such conversation.
    #[error("no conversation has this id")]
    ConversationNotFound,
    /// The caller has no such API key.
    #[error("no API key has this id")]
    KeyNotFound,
    /// No live instance has such a circuit breaker.
    #[error("no live instance has a circuit breaker of this name")]
    BreakerNotFound,
    /// No live instance has this id.
    #[error("no live instance has this id")]
    InstanceNotFound,
    /// No instance that answered has the circuit breaker, and some did not answer.
    #[error("no instance that answered has it, and some did not answer")]
    InstancesSilent,
    /// An API key could not be made; a fault of ours.
    #[error("no API key could be made")]
    KeyNotMade,
    /// The model does not stop.
    #[error("the answer grew beyond {limit} bytes and was given up")]
    AnswerTooLong {
        /// Largest answer in bytes.
        limit: usize,
    },
    /// Another service broke the order of its stream.
    #[error("ollama-proxy ended its stream out of order")]
    BrokenStream,
    /// Another service left out what its answer must have.
    #[error("another service gave an incomplete answer")]
    IncompleteAnswer,
    /// The call to another service took longer than it was given.
    #[error("the call to another service took too long")]
    DeadlineExceeded,
    /// Another service refused or failed.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// The database refused or failed.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// A credential could not be judged or made.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The cache has no such entry.
    #[error("the cache has no entry of this name")]
    CacheEntryNotFound,
    /// Redis refused or failed.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// The principal asked too often.
    #[error("too many requests of this kind")]
    RateLimited {
        /// When the next one is let through.
        retry_after: Duration,
    },
    /// A failure that several callers share, because one of them asked for all.
    #[error(transparent)]
    Shared(Arc<Error>),
    /// A value can not be cached; a fault of ours.
    #[error("a value can not be cached")]
    Uncacheable(#[source] Arc<serde_json::Error>),
}

impl From<CacheError<Arc<Error>>> for Error {
    fn from(error: CacheError<Arc<Error>>) -> Self {
        match error {
            CacheError::Load(error) => Self::Shared(error),
            CacheError::Codec(error) => Self::Uncacheable(error),
        }
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Remote(status.into())
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ConversationNotFound
            | Self::KeyNotFound
            | Self::BreakerNotFound
            | Self::InstanceNotFound
            | Self::CacheEntryNotFound => ErrorCode::NotFound,
            Self::InstancesSilent => ErrorCode::Unavailable,
            Self::AnswerTooLong { .. } | Self::BrokenStream | Self::IncompleteAnswer => {
                ErrorCode::BadUpstream
            }
            Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::KeyNotMade | Self::Uncacheable(_) => ErrorCode::Internal,
            Self::RateLimited { .. } => ErrorCode::Exhausted,
            Self::Redis(error) => error.code(),
            Self::Shared(error) => error.code(),
            Self::Remote(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Auth(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::ConversationNotFound => "conversation_not_found",
            Self::KeyNotFound => "api_key_not_found",
            Self::BreakerNotFound => "breaker_not_found",
            Self::InstanceNotFound => "instance_not_found",
            Self::InstancesSilent => "instances_silent",
            Self::AnswerTooLong { .. } => "answer_too_long",
            Self::BrokenStream => "broken_stream",
            Self::IncompleteAnswer => "incomplete_answer",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::CacheEntryNotFound => "cache_entry_not_found",
            Self::KeyNotMade | Self::Uncacheable(_) => "internal",
            Self::RateLimited { .. } => "rate_limited",
            Self::Redis(error) => error.reason(),
            Self::Shared(error) => error.reason(),
            Self::Remote(error) => error.reason(),
            Self::Database(error) => error.reason(),
            Self::Auth(error) => error.reason(),
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Remote(error) => error.details(),
            Self::Database(error) => error.details(),
            Self::Auth(error) => error.details(),
            Self::Redis(error) => error.details(),
            Self::Shared(error) => error.details(),
            Self::RateLimited { retry_after } => Details {
                retry_after: Some(*retry_after),
                ..Details::default()
            },
            _ => Details::default(),
        }
    }
}
