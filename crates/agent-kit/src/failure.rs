//! How an attempt fails.

use sutazai_auth::AuthError;
use sutazai_proto::status::chain;
use sutazai_proto::tasks::v1::{AttemptFailure, TaskError};
use sutazai_proto::{Coded, ErrorCode, RemoteError};
use tonic::Status;

/// Why an attempt failed, and whether another one may succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// How others should react.
    pub code: ErrorCode,
    /// Stable snake_case name of what happened.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether another attempt may succeed.
    pub retryable: bool,
}

impl Failure {
    /// Makes a failure that is retried when the table of codes says so.
    pub fn new(code: ErrorCode, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            retryable: code.policy().retryable,
        }
    }

    /// Makes the failure of an input that breaks a rule: it never gets better.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, "validation_failed", message)
    }

    /// Makes a failure from an error at a border.
    pub fn of(error: &impl Coded) -> Self {
        Self::new(error.code(), error.reason(), chain(error))
    }

    /// Says whether another attempt may succeed, whatever the code says.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}

impl From<RemoteError> for Failure {
    fn from(error: RemoteError) -> Self {
        Self::of(&error)
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        RemoteError::from(status).into()
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::of(&error)
    }
}

impl From<Failure> for AttemptFailure {
    fn from(failure: Failure) -> Self {
        Self {
            error: Some(TaskError {
                reason: failure.reason,
                message: failure.message,
                code: failure.code.to_string(),
            }),
            retryable: failure.retryable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsk_07_the_table_of_codes_decides_on_another_attempt() {
        let down = RemoteError::new(ErrorCode::Unavailable, "node_unreachable", "no node");
        let unknown = RemoteError::new(ErrorCode::NotFound, "model_not_found", "no such model");
        assert!(AttemptFailure::from(Failure::from(down)).retryable);
        let failure = AttemptFailure::from(Failure::from(unknown));
        assert!(!failure.retryable);
        let error = failure.error.unwrap();
        assert_eq!(
            (error.reason.as_str(), error.code.as_str()),
            ("model_not_found", "NOT_FOUND")
        );
    }
}
