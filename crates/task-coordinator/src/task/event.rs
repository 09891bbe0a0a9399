//! What can happen to a task.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Failure, Payload, Spec, State};

/// Something that happened to a task.
///
/// Payloads are not part of the serialised form: the store keeps them beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "data", rename_all = "snake_case")]
pub(crate) enum Event {
    Created {
        spec: Box<Spec>,
        #[serde(skip)]
        input: Payload,
    },
    /// Handed to the broker, perhaps again.
    Released,
    Started {
        attempt: u32,
        worker: String,
    },
    /// Another attempt follows.
    AttemptFailed {
        attempt: u32,
        error: Failure,
        retry_at: DateTime<Utc>,
    },
    CancelRequested,
    Succeeded {
        #[serde(skip)]
        result: Payload,
    },
    Failed {
        attempt: u32,
        error: Failure,
        /// It would have been tried again, had there been an attempt left.
        parked: bool,
    },
    Cancelled,
    Interrupted {
        error: Failure,
    },
    Expired {
        error: Failure,
    },
}

/// An event with its place in the history of a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    /// Contiguous from 1 for each task.
    pub(crate) sequence: u64,
    pub(crate) at: DateTime<Utc>,
    /// Attempt it belongs to; 0 before the first.
    pub(crate) attempt: u32,
    /// State after it.
    pub(crate) state: State,
    pub(crate) event: Event,
}

impl Event {
    /// Returns what the store keeps beside the event.
    pub(crate) fn payload(&self) -> Option<&Payload> {
        match self {
            Self::Created { input: payload, .. } | Self::Succeeded { result: payload } => {
                Some(payload)
            }
            _ => None,
        }
    }

    /// Puts back what [`Event::payload`] gave.
    pub(crate) fn set_payload(&mut self, stored: Payload) {
        if let Self::Created { input: payload, .. } | Self::Succeeded { result: payload } = self {
            *payload = stored;
        }
    }
}
