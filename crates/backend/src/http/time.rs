//! Times of the wire as JSON has them: RFC 3339 in UTC.

use chrono::{DateTime, Utc};
use prost_types::Timestamp;

/// Reads a timestamp; one outside the calendar is as good as none.
pub(crate) fn instant(timestamp: Option<Timestamp>) -> Option<DateTime<Utc>> {
    let timestamp = timestamp?;
    DateTime::from_timestamp(timestamp.seconds, u32::try_from(timestamp.nanos).ok()?)
}
