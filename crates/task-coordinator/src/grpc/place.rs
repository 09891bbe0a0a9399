//! Places in lists that are ordered by time and id, as cursors; whoever hands them out signs them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What is wrong with a cursor that can not be read.
pub(super) const NO_PLACE: &str = "is not one that an earlier page ended with";
/// Items of a page whose request names no number.
const DEFAULT_LIMIT: u32 = 20;
const LARGEST_LIMIT: u32 = 100;
/// Microseconds since 1970, then the id.
const CURSOR_LENGTH: usize = 8 + 16;
/// The year 5138, in microseconds since 1970.
const LATEST: i64 = 100_000_000_000_000_000;

/// Writes a place as a cursor.
pub(super) fn cursor(at: DateTime<Utc>, id: Uuid) -> String {
    let mut bytes = [0; CURSOR_LENGTH];
    let (time, rest) = bytes.split_at_mut(8);
    time.copy_from_slice(&at.timestamp_micros().to_be_bytes());
    rest.copy_from_slice(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads a cursor; `None` when it is none.
pub(super) fn read(cursor: &str) -> Option<(DateTime<Utc>, Uuid)> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (time, id) = bytes.split_first_chunk()?;
    // Nothing is of another time, and far outside of it the database knows no time at all.
    let micros = Some(i64::from_be_bytes(*time)).filter(|micros| (0..=LATEST).contains(micros))?;
    let at = DateTime::from_timestamp_micros(micros)?;
    Some((at, Uuid::from_slice(id).ok()?))
}

/// Returns how many items a page has that was asked for with this number.
pub(super) fn limit(asked: u32) -> u32 {
    match asked {
        0 => DEFAULT_LIMIT,
        asked => asked.min(LARGEST_LIMIT),
    }
}

#[cfg(test)]
mod tests {
    use chrono::SubsecRound;

    use super::*;

    #[test]
    fn a_place_survives_its_cursor() {
        let here = (Utc::now().trunc_subsecs(6), Uuid::now_v7());
        assert_eq!(read(&cursor(here.0, here.1)), Some(here));
    }

    #[test]
    fn what_no_page_ended_with_is_refused() {
        for text in [
            "!",
            "AAAA",
            &"A".repeat(33),
            &"_".repeat(32),
            &"f".repeat(32),
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_page_has_a_size() {
        assert_eq!([0, 7, 5000].map(limit), [DEFAULT_LIMIT, 7, LARGEST_LIMIT]);
    }
}
