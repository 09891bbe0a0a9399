//! Our errors as `tonic::Status` with google.rpc details, and back.

use std::{collections::HashMap, error::Error, fmt::Write};

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt};

use crate::code::{Coded, Details, ErrorCode, Violation};

/// `ErrorInfo.domain` of every error of this platform.
pub const DOMAIN: &str = "sutazai";
/// Reason of a service that got a call for another one.
pub const WRONG_SERVICE: &str = "wrong_service";
/// Key of the closed code in `ErrorInfo.metadata`.
const CODE_KEY: &str = "code";

/// Turns an error into a status: `ErrorInfo` always, `RetryInfo` and `BadRequest` where they apply.
///
/// Internal errors travel without their text: it may name hosts, tables or paths.
pub fn to_status(error: &impl Coded) -> Status {
    let code = error.code();
    let details = error.details();
    let mut metadata: HashMap<String, String> = details.metadata.into_iter().collect();
    metadata.insert(CODE_KEY.to_owned(), code.to_string());

    let mut out = ErrorDetails::new();
    out.set_error_info(error.reason(), DOMAIN, metadata);
    if let Some(after) = details.retry_after {
        out.set_retry_info(Some(after));
    }
    if !details.violations.is_empty() {
        let violations = details.violations.into_iter();
        out.set_bad_request(
            violations
                .map(|v| FieldViolation::new(v.field, v.description))
                .collect::<Vec<_>>(),
        );
    }
    let message = match code {
        ErrorCode::Internal => "internal error".to_owned(),
        _ => chain(error),
    };
    Status::with_error_details(code.policy().grpc, message, out)
}

/// Returns the code in the head of an answer. An answer that has begun well says `Ok` there, and its
/// end in the trailers.
pub fn grpc_code(head: &HeaderMap) -> Code {
    head.get("grpc-status")
        .map_or(Code::Ok, |value| Code::from_bytes(value.as_bytes()))
}

/// Names a code as gRPC's documents do.
pub fn grpc_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// An error that another process answered with.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct RemoteError {
    code: ErrorCode,
    reason: String,
    message: String,
    details: Details,
    from_platform: bool,
}

impl RemoteError {
    /// Makes one from its parts, for borders that are not gRPC.
    pub fn new(code: ErrorCode, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: Details::default(),
            from_platform: false,
        }
    }

    /// Says whether a service of this platform wrote the answer, and not something on the way to it.
    pub fn is_from_platform(&self) -> bool {
        self.from_platform
    }
}

impl Coded for RemoteError {
    fn code(&self) -> ErrorCode {
        self.code
    }

    fn reason(&self) -> &str {
        &self.reason
    }

    fn details(&self) -> Details {
        self.details.clone()
    }
}

impl From<Status> for RemoteError {
    fn from(status: Status) -> Self {
        let wire = status.get_error_details();
        let info = wire.error_info().filter(|info| info.domain == DOMAIN);
        let code = info
            .and_then(|info| info.metadata.get(CODE_KEY))
            .and_then(|name| name.parse().ok())
            .unwrap_or_else(|| bare_code(&status));
        let reason = info.map_or_else(|| code.to_string().to_lowercase(), |i| i.reason.clone());
        let metadata = info.map(|info| info.metadata.clone()).unwrap_or_default();
        let violations = wire
            .bad_request()
            .map(|b| b.field_violations.clone())
            .unwrap_or_default();
        Self {
            code,
            reason,
            message: status.message().to_owned(),
            from_platform: info.is_some(),
            details: Details {
                retry_after: wire.retry_info().and_then(|retry| retry.retry_delay),
                violations: violations
                    .into_iter()
                    .map(|v| Violation {
                        field: v.field,
                        description: v.description,
                    })
                    .collect(),
                metadata: metadata
                    .into_iter()
                    .filter(|(key, _)| key != CODE_KEY)
                    .collect(),
            },
        }
    }
}

/// Joins an error and its sources into one line, without repeating what a source already says.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            // Writing to a String can not fail.
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Reads a status without our details: it comes from the transport or from a foreign server.
///
/// tonic reports its own client-side timeout as `Cancelled`, and a broken connection as `Unknown`
/// with the transport error as its source.
fn bare_code(status: &Status) -> ErrorCode {
    match status.code() {
        Code::Cancelled if status.message().contains("Timeout expired") => {
            ErrorCode::DeadlineExceeded
        }
        Code::Unknown | Code::Cancelled if status.source().is_some() => ErrorCode::Unavailable,
        code => ErrorCode::from_grpc(code),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("model `mistrall` is not on any node")]
    struct Sample(ErrorCode);

    impl Coded for Sample {
        fn code(&self) -> ErrorCode {
            self.0
        }

        fn reason(&self) -> &'static str {
            "model_not_found"
        }

        fn details(&self) -> Details {
            Details {
                retry_after: Some(Duration::from_secs(3)),
                violations: vec![Violation {
                    field: "/model".into(),
                    description: "unknown".into(),
                }],
                metadata: [("near_names".to_owned(), "mistral".to_owned())].into(),
            }
        }
    }

    #[test]
    fn a_status_carries_code_reason_and_details_both_ways() {
        for code in ErrorCode::ALL {
            let remote = RemoteError::from(to_status(&Sample(code)));
            assert_eq!(remote.code(), code);
            assert_eq!(remote.reason(), "model_not_found");
            assert_eq!(remote.details(), Sample(code).details());
        }
    }

    #[test]
    fn internal_errors_travel_without_their_text() {
        let status = to_status(&Sample(ErrorCode::Internal));
        assert_eq!(status.message(), "internal error");
    }
}
