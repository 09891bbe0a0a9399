//! Why a request about tasks is not answered as asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::BrokerError;
use sutazai_persistence::DatabaseError;
use sutazai_proto::{Coded, Details, ErrorCode, Violation, ids::TaskId};
use uuid::Uuid;

use crate::desk::Unstored;
use crate::submission::near_names;
use crate::task::Payload;

/// When a request that meets its like is worth repeating.
const IN_FLIGHT: Duration = Duration::from_secs(1);
/// When a stream that a stopping process ended is worth opening again.
const RESUME: Duration = Duration::from_millis(200);

/// Why a request about tasks is not answered as asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Parts of the request break a rule.
    #[error("the request breaks {} of the rules for it", .0.len())]
    Invalid(Vec<Violation>),
    /// The text is not an id.
    #[error("the id is not a UUID")]
    InvalidId,
    /// The key is not what a key may be.
    #[error("the idempotency key is not 1 to 255 visible ASCII characters")]
    KeyMalformed,
    /// The input does not fit.
    #[error("the input has {0} bytes, at most {limit} are allowed", limit = Payload::LIMIT)]
    InputTooLarge(usize),
    /// No worker has brought this type.
    #[error("no worker has brought the task type `{name}`")]
    UnknownTaskType {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The task does not exist, or belongs to another tenant.
    #[error("there is no task {0}")]
    TaskNotFound(TaskId),
    /// The key belongs to another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A request with this key has not ended yet.
    #[error("a request with this idempotency key is in progress")]
    KeyInFlight,
    /// There is no such dead letter.
    #[error("there is no dead letter {0}")]
    DeadLetterNotFound(Uuid),
    /// Somebody sends it again at this moment.
    #[error("the message is being sent again")]
    RedriveInFlight,
    /// Only a part of the message was kept.
    #[error("the message has {0} bytes, of which only a part was kept: it can not be sent again")]
    DeadLetterCut(u64),
    /// The queue where the message died is gone.
    #[error("there is no queue `{0}` any more")]
    QueueGone(String),
    /// The broker did not do its part.
    #[error("the broker did not take the message over")]
    Broker(#[source] BrokerError),
    /// The caller is no worker.
    #[error("{0} is not a worker")]
    NotAWorker(ServiceName),
    /// The process stops; the stream goes on at another one.
    #[error("the service is stopping")]
    Stopping,
    /// The database did not do its part.
    #[error("the tasks can not be reached")]
    Database(#[source] Arc<DatabaseError>),
    /// Nobody knows whether it was done.
    #[error("the work broke off")]
    BrokenOff,
}

impl Error {
    /// Tells whether the same request may be answered otherwise in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(self, Self::KeyInFlight) || self.code().policy().retryable
    }
}

impl From<DatabaseError> for Error {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<Unstored> for Error {
    fn from(unstored: Unstored) -> Self {
        match unstored {
            Unstored::Database(error) => Self::Database(error),
            Unstored::Lost => Self::BrokenOff,
        }
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::InvalidId | Self::KeyMalformed => ErrorCode::InvalidArgument,
            Self::InputTooLarge(_) => ErrorCode::TooLarge,
            Self::UnknownTaskType { .. } | Self::KeyReused | Self::DeadLetterCut(_) => {
                ErrorCode::Unprocessable
            }
            Self::TaskNotFound(_) | Self::DeadLetterNotFound(_) => ErrorCode::NotFound,
            Self::KeyInFlight | Self::RedriveInFlight | Self::QueueGone(_) => ErrorCode::Conflict,
            Self::Broker(error) => error.code(),
            Self::NotAWorker(_) => ErrorCode::PermissionDenied,
            Self::Stopping => ErrorCode::Unavailable,
            Self::Database(error) => error.code(),
            Self::BrokenOff => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid(_) => "validation_failed",
            Self::InvalidId => "invalid_id",
            Self::KeyMalformed => "idempotency_key_malformed",
            Self::InputTooLarge(_) => "body_too_large",
            Self::UnknownTaskType { .. } => "unknown_task_type",
            Self::TaskNotFound(_) => "task_not_found",
            Self::KeyReused => "idempotency_key_reused",
            Self::KeyInFlight => "idempotency_key_in_flight",
            Self::DeadLetterNotFound(_) => "dead_letter_not_found",
            Self::RedriveInFlight => "redrive_in_flight",
            Self::DeadLetterCut(_) => "dead_letter_incomplete",
            Self::QueueGone(_) => "queue_gone",
            Self::Broker(error) => error.reason(),
            Self::NotAWorker(_) => "missing_permission",
            Self::Stopping => "service_stopping",
            Self::Database(error) => error.reason(),
            Self::BrokenOff => "internal",
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Invalid(violations) => Details {
                violations: violations.clone(),
                ..Details::default()
            },
            Self::KeyMalformed => violation("Idempotency-Key", self),
            Self::InputTooLarge(_) => violation("/input", self),
            Self::UnknownTaskType { name, known } => Details {
                metadata: BTreeMap::from([
                    ("near_names".to_owned(), near_names(name, known).join(", ")),
                    ("known_names".to_owned(), known.join(", ")),
                ]),
                ..violation("/type", self)
            },
            Self::KeyInFlight | Self::RedriveInFlight => Details {
                retry_after: Some(IN_FLIGHT),
                ..Details::default()
            },
            Self::Stopping => Details {
                retry_after: Some(RESUME),
                ..Details::default()
            },
            Self::Database(error) => error.details(),
            Self::InvalidId
            | Self::TaskNotFound(_)
            | Self::KeyReused
            | Self::DeadLetterNotFound(_)
            | Self::DeadLetterCut(_)
            | Self::QueueGone(_)
            | Self::Broker(_)
            | Self::NotAWorker(_)
            | Self::BrokenOff => Details::default(),
        }
    }
}

fn violation(field: &str, error: &Error) -> Details {
    let violation = Violation {
        field: field.to_owned(),
        description: error.to_string(),
    };
    Details {
        violations: vec![violation],
        ..Details::default()
    }
}
