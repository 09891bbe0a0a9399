//! What a task is, fixed when it is made.

use std::{collections::BTreeMap, fmt, str::FromStr, time::Duration};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// What a task is, fixed when it is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) tenant: String,
    pub(crate) subject: String,
    pub(crate) roles: Vec<String>,
    pub(crate) scopes: Vec<String>,
    /// W3C trace headers of the request that submitted it.
    pub(crate) trace: BTreeMap<String, String>,
    pub(crate) task_type: TypeName,
    /// 0 (background) to 9 (first).
    pub(crate) priority: u8,
    pub(crate) max_attempts: u32,
    pub(crate) effect_mode: EffectMode,
    #[serde(with = "milliseconds")]
    pub(crate) attempt_timeout: Duration,
    pub(crate) expires_at: Option<DateTime<Utc>>,
}

/// Bytes that the coordinator never reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Payload {
    pub(crate) data: Bytes,
    pub(crate) content_type: String,
}

impl Payload {
    /// Most bytes of an input or a result.
    pub(crate) const LIMIT: usize = 64 * 1024;
}

/// Dotted lower-case name of a task type, for example `llm.generate`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TypeName(String);

impl TypeName {
    /// Longest name, in bytes.
    pub(crate) const LENGTH: usize = 100;

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TypeName {
    type Err = UnknownText;

    fn from_str(text: &str) -> Result<Self, UnknownText> {
        let word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
        };
        (text.len() <= Self::LENGTH && text.split('.').all(word))
            .then(|| Self(text.to_owned()))
            .ok_or(UnknownText)
    }
}

/// The text is none of the names it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known names")]
pub(crate) struct UnknownText;

/// Declares an enum whose values have names, the same in the database and in events.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub(crate) enum $name {
            $($(#[$value_doc])* #[serde(rename = $text)] $value,)+
        }

        impl $name {
            pub(crate) const ALL: &[Self] = &[$(Self::$value,)+];

            pub(crate) fn as_str(self) -> &'static str {
                match self {
                    $(Self::$value => $text,)+
                }
            }
        }

        impl FromStr for $name {
            type Err = UnknownText;

            fn from_str(text: &str) -> Result<Self, UnknownText> {
                Self::ALL.iter().copied().find(|value| value.as_str() == text).ok_or(UnknownText)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

named! {
    /// What a crash between start and end means.
    EffectMode {
        /// May be started again; the effect counts once through its key.
        Idempotent = "idempotent",
        /// Is never started again.
        AtMostOnce = "at_most_once",
    }
}

named! {
    /// Where a task stands.
    State {
        Queued = "queued",
        Running = "running",
        Succeeded = "succeeded",
        Failed = "failed",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
        Expired = "expired",
    }
}

impl State {
    /// Tells whether nothing follows any more.
    pub(crate) fn is_terminal(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// A duration as whole milliseconds.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(u64::try_from(value.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        u64::deserialize(from).map(Duration::from_millis)
    }
}
