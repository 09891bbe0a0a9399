//! Why an attempt ended without a result.

use serde::{Deserialize, Serialize};
use sutazai_proto::ErrorCode;

/// Longest reason, in bytes.
const REASON_LENGTH: usize = 64;
/// Longest message, in bytes.
const MESSAGE_LENGTH: usize = 4096;
/// Stands for a reason that is none.
const UNNAMED: &str = "unnamed_failure";

/// Why an attempt ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Failure {
    reason: String,
    message: String,
    #[serde(with = "code_name")]
    code: ErrorCode,
}

impl Failure {
    /// Makes one that fits: a text from outside is shortened and cleared of what can not be stored.
    pub(crate) fn new(code: ErrorCode, reason: &str, message: &str) -> Self {
        let named = !reason.is_empty()
            && reason.len() <= REASON_LENGTH
            && reason
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'));
        let end = message.floor_char_boundary(MESSAGE_LENGTH);
        Self {
            reason: if named { reason } else { UNNAMED }.to_owned(),
            message: message[..end].replace('\0', "\u{fffd}"),
            code,
        }
    }

    pub(crate) fn reason(&self) -> &str {
        &self.reason
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn code(&self) -> ErrorCode {
        self.code
    }
}

/// An error code by its name.
mod code_name {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use sutazai_proto::ErrorCode;

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the signature that serde asks for"
    )]
    pub(super) fn serialize<S: Serializer>(code: &ErrorCode, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(code.policy().name)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ErrorCode, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_is_made_storable() {
        let long = "ä".repeat(MESSAGE_LENGTH);
        let failure = Failure::new(ErrorCode::Internal, "Not A Reason", &format!("\0{long}"));
        assert_eq!(failure.reason(), UNNAMED);
        assert!(!failure.message().contains('\0'));
        assert!(failure.message().len() <= MESSAGE_LENGTH + 2);
        let kept = Failure::new(ErrorCode::Unavailable, "node_failed", "gone");
        assert_eq!((kept.reason(), kept.message()), ("node_failed", "gone"));
    }
}
