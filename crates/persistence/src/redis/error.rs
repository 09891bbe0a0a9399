//! What can go wrong with Redis, as far as a caller can react to it.

use std::time::Duration;

use redis::{ErrorKind, ServerErrorKind};
use sutazai_proto::{Coded, Details, ErrorCode};
use sutazai_resilience::breaker::CallError;

/// When trying again makes sense, where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a unit of work on Redis failed.
#[derive(Debug, thiserror::Error)]
pub enum RedisError {
    /// The server can not be reached, closed the connection, or can not work now.
    #[error("Redis is not available")]
    Unavailable(#[source] redis::RedisError),
    /// The server did not answer in time.
    #[error("Redis did not answer in time")]
    Timeout,
    /// The breaker is open: the work was not started.
    #[error("Redis failed repeatedly and is left alone for a moment")]
    BreakerOpen {
        /// When the next try may be let through.
        retry_after: Duration,
    },
    /// The server refused the work, or its answer is not what the program expects.
    #[error("Redis refused the work")]
    Refused(#[source] redis::RedisError),
    /// The URL names no Redis.
    #[error("the address of Redis can not be used")]
    Address(#[source] redis::RedisError),
}

impl RedisError {
    /// Returns the value of the metric label `outcome`.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Timeout => "timeout",
            Self::BreakerOpen { .. } => "breaker_open",
            Self::Refused(_) | Self::Address(_) => "failed",
        }
    }

    /// Returns whether the server refused us and not our work.
    pub(super) fn is_login(&self) -> bool {
        matches!(self, Self::Unavailable(error) if error.kind() == ErrorKind::AuthenticationFailed)
    }
}

/// Returns whether the error says that the server can not work for us, and not that it answered.
pub(super) fn is_unreachable(error: &redis::RedisError) -> bool {
    error.is_io_error()
        || matches!(
            error.kind(),
            ErrorKind::AuthenticationFailed
                | ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown)
        )
}

impl From<redis::RedisError> for RedisError {
    fn from(error: redis::RedisError) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if is_unreachable(&error) {
            Self::Unavailable(error)
        } else {
            Self::Refused(error)
        }
    }
}

impl From<CallError<redis::RedisError>> for RedisError {
    fn from(error: CallError<redis::RedisError>) -> Self {
        match error {
            CallError::Open(open) => Self::BreakerOpen {
                retry_after: open.retry_after,
            },
            CallError::Timeout(_) => Self::Timeout,
            CallError::Inner(error) => error.into(),
        }
    }
}

impl Coded for RedisError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable(_) | Self::Timeout | Self::BreakerOpen { .. } => {
                ErrorCode::Unavailable
            }
            Self::Refused(_) | Self::Address(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable(_) | Self::Timeout | Self::BreakerOpen { .. } => "redis_unavailable",
            Self::Refused(_) | Self::Address(_) => "internal",
        }
    }

    fn details(&self) -> Details {
        let retry_after = match self {
            Self::BreakerOpen { retry_after } => Some(*retry_after),
            Self::Unavailable(_) | Self::Timeout => Some(RETRY_AFTER),
            Self::Refused(_) | Self::Address(_) => None,
        };
        Details {
            retry_after,
            ..Details::default()
        }
    }
}
