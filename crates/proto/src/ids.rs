//! Identifiers that can only be made valid.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The text is not a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a UUID")]
pub struct InvalidId;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Makes a new id, ordered by time (UUID version 7, RFC 9562).
            #[expect(clippy::new_without_default, reason = "a default id would not be unique")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }

            /// Returns the id as a UUID, for the database.
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                // `Uuid` also reads braced, URN and bare forms; one thing has one name here.
                Uuid::try_parse(text).ok().filter(|_| text.len() == 36).map(Self).ok_or(InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id! {
    /// Names a task.
    TaskId
}
uuid_id! {
    /// Names a conversation.
    ConversationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text() {
        let id = TaskId::new();
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn other_spellings_are_refused() {
        let id = TaskId::new().as_uuid();
        for text in [
            id.simple().to_string(),
            id.urn().to_string(),
            "7".into(),
            String::new(),
        ] {
            assert_eq!(text.parse::<TaskId>(), Err(InvalidId), "{text}");
        }
    }
}
