//! The closed error vocabulary: one table decides gRPC code, HTTP status, retry, breaker and log level.

use std::{collections::BTreeMap, error::Error, fmt, str::FromStr, time::Duration};

use http::StatusCode;
use tonic::Code;
use tracing::Level;

/// Every way in which a call across a border can fail.
///
/// The value decides how a caller reacts; the finer `reason` says what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// The request is malformed or breaks a rule of its schema.
    InvalidArgument,
    /// No credential, or one that does not hold.
    Unauthenticated,
    /// The principal is known and may not do this.
    PermissionDenied,
    /// The thing does not exist, or not for this tenant.
    NotFound,
    /// The state of the thing, or a request in flight, forbids this now.
    Conflict,
    /// The body is larger than its family's limit.
    TooLarge,
    /// Well-formed, but it can not be carried out as asked.
    Unprocessable,
    /// A queue, quota or rate limit is full.
    Exhausted,
    /// The caller went away.
    Cancelled,
    /// A fault of ours.
    Internal,
    /// A foreign system answered with an error or nonsense.
    BadUpstream,
    /// A part is down or starting; the same call may work later.
    Unavailable,
    /// The time allowed for the call is over.
    DeadlineExceeded,
}

/// One row of the error policy.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Upper snake-case name, stable on the wire.
    pub name: &'static str,
    /// Code over gRPC.
    pub grpc: Code,
    /// Status over HTTP.
    pub http: StatusCode,
    /// Whether an idempotent call may be repeated.
    pub retryable: bool,
    /// Whether a breaker counts it against the callee.
    pub trips_breaker: bool,
    /// Level of the one log line where the error is handled.
    pub level: Level,
}

/// Status that nginx introduced for a client that closed its connection; nobody is left to read it.
fn client_closed_request() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

impl ErrorCode {
    /// All codes, in the order of the table.
    pub const ALL: [Self; 13] = [
        Self::InvalidArgument,
        Self::Unauthenticated,
        Self::PermissionDenied,
        Self::NotFound,
        Self::Conflict,
        Self::TooLarge,
        Self::Unprocessable,
        Self::Exhausted,
        Self::Cancelled,
        Self::Internal,
        Self::BadUpstream,
        Self::Unavailable,
        Self::DeadlineExceeded,
    ];

    /// Returns the row of the table.
    #[rustfmt::skip]
    pub fn policy(self) -> Policy {
        let row = |name, grpc, http, retryable, trips_breaker, level| Policy {
            name, grpc, http, retryable, trips_breaker, level,
        };
        match self {
            //                           name                   gRPC                     HTTP                                retry  trips  log level
            Self::InvalidArgument  => row("INVALID_ARGUMENT",   Code::InvalidArgument,   StatusCode::BAD_REQUEST,            false, false, Level::DEBUG),
            Self::Unauthenticated  => row("UNAUTHENTICATED",    Code::Unauthenticated,   StatusCode::UNAUTHORIZED,           false, false, Level::INFO),
            Self::PermissionDenied => row("PERMISSION_DENIED",  Code::PermissionDenied,  StatusCode::FORBIDDEN,              false, false, Level::INFO),
            Self::NotFound         => row("NOT_FOUND",          Code::NotFound,          StatusCode::NOT_FOUND,              false, false, Level::DEBUG),
            Self::Conflict         => row("CONFLICT",           Code::Aborted,           StatusCode::CONFLICT,               false, false, Level::DEBUG),
            Self::TooLarge         => row("TOO_LARGE",          Code::OutOfRange,        StatusCode::PAYLOAD_TOO_LARGE,      false, false, Level::DEBUG),
            Self::Unprocessable    => row("UNPROCESSABLE",      Code::FailedPrecondition, StatusCode::UNPROCESSABLE_ENTITY,  false, false, Level::DEBUG),
            Self::Exhausted        => row("EXHAUSTED",          Code::ResourceExhausted, StatusCode::TOO_MANY_REQUESTS,      true,  false, Level::WARN),
            Self::Cancelled        => row("CANCELLED",          Code::Cancelled,         client_closed_request(),            false, false, Level::DEBUG),
            Self::Internal         => row("INTERNAL",           Code::Internal,          StatusCode::INTERNAL_SERVER_ERROR,  false, false, Level::ERROR),
            Self::BadUpstream      => row("BAD_UPSTREAM",       Code::Unknown,           StatusCode::BAD_GATEWAY,            true,  true,  Level::WARN),
            Self::Unavailable      => row("UNAVAILABLE",        Code::Unavailable,       StatusCode::SERVICE_UNAVAILABLE,    true,  true,  Level::WARN),
            Self::DeadlineExceeded => row("DEADLINE_EXCEEDED",  Code::DeadlineExceeded,  StatusCode::GATEWAY_TIMEOUT,        true,  true,  Level::WARN),
        }
    }

    /// Returns the code that a bare gRPC status stands for, when its details name none.
    pub fn from_grpc(code: Code) -> Self {
        match code {
            Code::Ok | Code::Internal | Code::DataLoss | Code::Unimplemented => Self::Internal,
            Code::AlreadyExists | Code::Aborted => Self::Conflict,
            other => Self::ALL
                .into_iter()
                .find(|candidate| candidate.policy().grpc == other)
                .unwrap_or(Self::Internal),
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.policy().name)
    }
}

impl FromStr for ErrorCode {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|code| code.policy().name == name)
            .ok_or(UnknownCode)
    }
}

/// The text is no [`ErrorCode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown error code")]
pub struct UnknownCode;

/// An error that can cross the border of a process.
pub trait Coded: Error + Send + Sync + 'static {
    /// Returns how the other side should react.
    fn code(&self) -> ErrorCode;

    /// Returns the stable snake_case name of what happened, for example `model_not_found`.
    fn reason(&self) -> &str;

    /// Returns what helps the caller to react; nothing by default.
    fn details(&self) -> Details {
        Details::default()
    }
}

/// What travels beside code, reason and message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// Which fields of the request are wrong.
    pub violations: Vec<Violation>,
    /// Further facts by snake_case name, for example `near_names`.
    pub metadata: BTreeMap<String, String>,
}

/// One fault in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON Pointer (RFC 6901) into the request body, or the name of a query parameter or header.
    pub field: String,
    /// What is wrong and what is expected.
    pub description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_survives_the_wire_by_name() {
        for code in ErrorCode::ALL {
            assert_eq!(code.to_string().parse(), Ok(code));
        }
    }

    #[test]
    fn grpc_codes_are_unambiguous() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::from_grpc(code.policy().grpc), code);
        }
    }

    #[test]
    fn only_faults_of_the_callee_trip_a_breaker() {
        for code in ErrorCode::ALL {
            let policy = code.policy();
            if policy.trips_breaker {
                assert!(policy.http.is_server_error(), "{code} blames the caller");
                assert!(policy.retryable, "{code} trips, so a later call may work");
            }
        }
    }
}
