//! What lapin's errors mean here.

use std::{error::Error, io};

use lapin::{ErrorKind, protocol::AMQPErrorKind, protocol::AMQPSoftError};

use super::KIND;
use crate::broker::BrokerError;

/// The broker does not answer, for this reason.
pub(super) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> BrokerError {
    BrokerError::Unavailable {
        kind: KIND,
        source: source.into(),
    }
}

/// The broker did not answer in time.
pub(super) fn late(what: &'static str) -> BrokerError {
    unavailable(io::Error::new(io::ErrorKind::TimedOut, what))
}

/// Tells which complaint of the broker closed a channel.
pub(super) fn complaint(error: &lapin::Error) -> Option<&AMQPSoftError> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => match error.kind() {
            AMQPErrorKind::Soft(soft) => Some(soft),
            AMQPErrorKind::Hard(_) => None,
        },
        _ => None,
    }
}

/// Tells whether a channel was closed because something does not exist.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    complaint(error) == Some(&AMQPSoftError::NOTFOUND)
}
