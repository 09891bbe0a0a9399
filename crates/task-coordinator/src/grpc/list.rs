//! Reads the request for a page of the list.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::DateTime;
use sutazai_proto::Violation;
use sutazai_proto::tasks::v1::ListTasksRequest;
use uuid::Uuid;

use super::convert;
use crate::error::Error;
use crate::store::{Page, Place};
use crate::task::State;

/// Items of a page whose request names no number.
const DEFAULT_LIMIT: u32 = 20;
const LARGEST_LIMIT: u32 = 100;
/// Microseconds since 1970, then the id.
const CURSOR_LENGTH: usize = 8 + 16;
/// The year 5138, in microseconds since 1970.
const LATEST: i64 = 100_000_000_000_000_000;

/// Reads the request; all faults come out together.
pub(super) fn read(request: ListTasksRequest) -> Result<Page, Error> {
    let page = request.page.unwrap_or_default();
    let mut violations = Vec::new();
    let mut fault = |field: &str, description: &str| {
        violations.push(Violation {
            field: field.to_owned(),
            description: description.to_owned(),
        });
    };
    let mut states: Vec<State> = Vec::new();
    for number in request.states {
        match State::ALL
            .iter()
            .find(|state| i32::from(convert::state(**state)) == number)
        {
            // Each state is walked once.
            Some(state) if states.contains(state) => {}
            Some(state) => states.push(*state),
            None => fault("state", "is not a state of a task"),
        }
    }
    let task_type = match request.r#type.as_str() {
        "" => None,
        name => name
            .parse()
            .inspect_err(|_| fault("type", "is not the name of a task type"))
            .ok(),
    };
    let after = match page.cursor.as_str() {
        "" => None,
        text => {
            let place = place(text);
            if place.is_none() {
                fault("cursor", "is not one that an earlier page ended with");
            }
            place
        }
    };
    let limit = match page.limit {
        0 => DEFAULT_LIMIT,
        limit => limit.min(LARGEST_LIMIT),
    };
    match violations.as_slice() {
        [] => Ok(Page {
            states,
            task_type,
            after,
            limit,
        }),
        _ => Err(Error::Invalid(violations)),
    }
}

/// Writes a place as a cursor; whoever hands it to clients signs it.
pub(super) fn cursor(place: Place) -> String {
    let mut bytes = [0; CURSOR_LENGTH];
    let (time, id) = bytes.split_at_mut(8);
    time.copy_from_slice(&place.created_at.timestamp_micros().to_be_bytes());
    id.copy_from_slice(place.id.as_uuid().as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn place(cursor: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (time, id) = bytes.split_first_chunk()?;
    // No task is of another time, and far outside of it the database knows no time at all.
    let micros = Some(i64::from_be_bytes(*time)).filter(|micros| (0..=LATEST).contains(micros))?;
    let created_at = DateTime::from_timestamp_micros(micros)?;
    Some(Place {
        created_at,
        id: Uuid::from_slice(id).ok()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use chrono::{SubsecRound, Utc};
    use sutazai_proto::{Coded, ids::TaskId, platform::v1::PageRequest};

    use super::*;

    #[test]
    fn a_place_survives_its_cursor() {
        let here = Place {
            created_at: Utc::now().trunc_subsecs(6),
            id: TaskId::new(),
        };
        assert_eq!(place(&cursor(here)), Some(here));
    }

    #[test]
    fn what_no_page_ended_with_is_refused() {
        for cursor in [
            "!",
            "AAAA",
            &"A".repeat(33),
            &"_".repeat(32),
            &"f".repeat(32),
        ] {
            let page = PageRequest {
                limit: 0,
                cursor: cursor.to_owned(),
            };
            let request = ListTasksRequest {
                page: Some(page),
                states: vec![1, 99],
                r#type: "No Type".to_owned(),
            };
            let violations = read(request).unwrap_err().details().violations;
            let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
            assert_eq!(fields, ["state", "type", "cursor"], "{cursor}");
        }
    }

    #[test]
    fn a_page_has_a_size_and_each_state_once() {
        let read = |limit, states| {
            let page = PageRequest {
                limit,
                cursor: String::new(),
            };
            read(ListTasksRequest {
                page: Some(page),
                states,
                r#type: String::new(),
            })
            .unwrap()
        };
        assert_eq!(read(0, vec![]).limit, DEFAULT_LIMIT);
        assert_eq!(read(5000, vec![]).limit, LARGEST_LIMIT);
        assert_eq!(
            read(7, vec![2, 1, 2]).states,
            [State::Running, State::Queued]
        );
    }
}
