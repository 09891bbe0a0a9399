//! Reads the request for a page of the list.

use sutazai_proto::Violation;
use sutazai_proto::tasks::v1::ListTasksRequest;

use super::{convert, place};
use crate::error::Error;
use crate::store::{Page, Place};
use crate::task::State;

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
            let place = place::read(text);
            if place.is_none() {
                fault("cursor", place::NO_PLACE);
            }
            place.map(|(created_at, id)| Place {
                created_at,
                id: id.into(),
            })
        }
    };
    let limit = place::limit(page.limit);
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

#[cfg(test)]
mod tests {
    use sutazai_proto::{Coded, platform::v1::PageRequest};

    use super::*;

    #[test]
    fn what_no_page_ended_with_is_refused() {
        for cursor in ["!", &"f".repeat(32)] {
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
        assert_eq!(read(0, vec![]).limit, 20);
        assert_eq!(read(5000, vec![]).limit, 100);
        assert_eq!(
            read(7, vec![2, 1, 2]).states,
            [State::Running, State::Queued]
        );
    }
}
