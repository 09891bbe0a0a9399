//! What can go wrong with agents.

use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::DatabaseError;
use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// Why a call about agents failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The announcement breaks rules.
    #[error("the announcement is not valid")]
    Invalid(Vec<Violation>),
    /// A caller announced another's name.
    #[error("{caller} can only announce itself")]
    NotYourself {
        /// Who called.
        caller: ServiceName,
    },
    /// Nobody ever announced itself by that name.
    #[error("no agent is called `{0}`")]
    NotFound(String),
    /// The table can not be used.
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::InvalidArgument,
            Self::NotYourself { .. } => ErrorCode::PermissionDenied,
            Self::NotFound(_) => ErrorCode::NotFound,
            Self::Database(error) => error.code(),
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Invalid(_) => "validation_failed",
            Self::NotYourself { .. } => "caller_not_allowed",
            Self::NotFound(_) => "agent_not_found",
            Self::Database(error) => error.reason(),
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Invalid(violations) => Details {
                violations: violations.clone(),
                ..Details::default()
            },
            Self::Database(error) => error.details(),
            _ => Details::default(),
        }
    }
}
