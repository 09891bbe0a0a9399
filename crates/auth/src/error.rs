//! Why a request is refused.

use std::{sync::Arc, time::Duration};

use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::DatabaseError;
use sutazai_proto::{Coded, Details, ErrorCode, status::WRONG_SERVICE};

use crate::{password::PasswordError, permission::Permission};

/// A refusal, or a failure on the way to the decision.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// No credential came with the request.
    #[error("a credential is needed: send `Authorization: Bearer <token or API key>`")]
    Missing,
    /// A credential came and does not hold. The cause is for the log: told to the sender, it
    /// would help whoever is guessing.
    #[error("the credential is not valid here")]
    Invalid(Refusal),
    /// The credential held once.
    #[error("the credential has expired")]
    Expired,
    /// Name and password do not belong together; which of the two is wrong is not told.
    #[error("the name or the password is wrong")]
    Login,
    /// The principal is known and lacks this.
    #[error("the permission `{0}` is missing")]
    Permission(Permission),
    /// The call graph has no edge between these two.
    #[error("{from} may not call {to}")]
    Caller {
        /// Who called.
        from: ServiceName,
        /// Who was called.
        to: ServiceName,
    },
    /// The call was meant for another service: an address of its caller's list is old.
    #[error("this is {0}, and the credential is for another service")]
    WrongService(ServiceName),
    /// The time for the call was over before it began.
    #[error("no time is left for the call")]
    DeadlineExceeded,
    /// An API key can not be allowed more than its owner.
    #[error("a key can not have the scope `{0}`, because its owner has not")]
    Scope(Permission),
    /// An API key without a scope would be of no use.
    #[error("a key needs at least one scope")]
    NoScope,
    /// The life of an API key is outside the bounds.
    #[error("a key lives from one minute to {} days", .limit.as_secs() / 86_400)]
    Life {
        /// Longest life.
        limit: Duration,
    },
    /// A password breaks a rule or can not be hashed now.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Keys and accounts can not be read or written; who asked at the same time shares the error.
    #[error(transparent)]
    Database(Arc<DatabaseError>),
    /// A token could not be made.
    #[error("signing failed")]
    Signing(#[source] jsonwebtoken::errors::Error),
    /// A value of ours can not be a header.
    #[error("a value can not be sent as metadata")]
    Metadata(#[source] tonic::metadata::errors::InvalidMetadataValue),
}

/// What is wrong with a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the texts say it")]
pub enum Refusal {
    #[error("more than one authorization header")]
    SeveralHeaders,
    #[error("the authorization header is not `Bearer` and one token")]
    Malformed,
    #[error("the token is longer than the limit")]
    TooLong,
    #[error("the header of the token is not one of ours")]
    Header,
    #[error("the algorithm is not EdDSA")]
    Algorithm,
    #[error("the type of the token belongs to another door")]
    Type,
    #[error("no published key has the id that the token names")]
    UnknownKey,
    #[error("the signature does not hold")]
    Signature,
    #[error("the claims can not be read")]
    Claims,
    #[error("the issuer does not own the key, or issues no such tokens")]
    Issuer,
    #[error("the token is meant for another service")]
    Audience,
    #[error("the token is not valid yet")]
    NotYet,
    #[error("the token lives longer than allowed")]
    Lifetime,
    #[error("subject, tenant or roles make no principal")]
    Principal,
    #[error("the API key has the wrong shape or checksum")]
    KeyShape,
    #[error("the API key is unknown, revoked, or its owner is disabled")]
    KeyUnknown,
    #[error("API keys are not accepted here")]
    KeysNotAccepted,
}

impl Coded for AuthError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Missing
            | Self::Invalid(_)
            | Self::Expired
            | Self::Login
            | Self::WrongService(_) => ErrorCode::Unauthenticated,
            Self::Permission(_) | Self::Caller { .. } | Self::Scope(_) => {
                ErrorCode::PermissionDenied
            }
            Self::DeadlineExceeded => ErrorCode::DeadlineExceeded,
            Self::NoScope | Self::Life { .. } => ErrorCode::InvalidArgument,
            Self::Password(error) => error.code(),
            Self::Database(error) => error.code(),
            Self::Signing(_) | Self::Metadata(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::Missing => "missing_credential",
            Self::Invalid(_) | Self::Login => "invalid_credential",
            Self::Expired => "expired_credential",
            Self::Permission(_) | Self::Scope(_) => "missing_permission",
            Self::Caller { .. } => "caller_not_allowed",
            Self::WrongService(_) => WRONG_SERVICE,
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NoScope | Self::Life { .. } => "validation_failed",
            Self::Password(error) => error.reason(),
            Self::Database(error) => error.reason(),
            Self::Signing(_) | Self::Metadata(_) => "internal",
        }
    }

    fn details(&self) -> Details {
        match self {
            Self::Password(error) => error.details(),
            Self::Database(error) => error.details(),
            _ => Details::default(),
        }
    }
}

impl From<DatabaseError> for AuthError {
    fn from(error: DatabaseError) -> Self {
        Self::Database(Arc::new(error))
    }
}

impl From<Refusal> for AuthError {
    fn from(refusal: Refusal) -> Self {
        Self::Invalid(refusal)
    }
}

impl From<AuthError> for tonic::Status {
    fn from(error: AuthError) -> Self {
        sutazai_proto::to_status(&error)
    }
}

/// Logs a refusal where it is answered, once, with the cause that the sender is not told.
pub(crate) fn log_refusal(error: &AuthError, path: &str) {
    let reason = error.reason();
    if error.code().policy().level <= tracing::Level::WARN {
        tracing::warn!(path, reason, cause = ?error, "caller can not be judged");
    } else {
        tracing::info!(path, reason, cause = ?error, "caller refused");
    }
}
