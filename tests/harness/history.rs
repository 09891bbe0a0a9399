//! What holds for the history of every task.

use crate::Event;

/// Kinds of events after which nothing follows.
const ENDS: [&str; 5] = ["succeeded", "failed", "cancelled", "interrupted", "expired"];

/// Returns the kinds of the events.
pub fn kinds(history: &[Event]) -> Vec<&str> {
    history.iter().map(|event| event.kind.as_str()).collect()
}

/// Counts the events that end a task.
pub fn ends(history: &[Event]) -> usize {
    history
        .iter()
        .filter(|event| ENDS.contains(&event.kind.as_str()))
        .count()
}

/// Fails unless this is the whole history of a task that has ended: numbered from 1 without a gap,
/// with one end, and nothing after it.
pub fn assert_history(history: &[Event]) {
    let numbers: Vec<String> = history
        .iter()
        .filter_map(|event| event.id.clone())
        .collect();
    let expected: Vec<String> = (1..=history.len())
        .map(|number| number.to_string())
        .collect();
    assert_eq!(numbers, expected, "{history:#?}");
    assert_eq!(
        history.first().map(|event| event.kind.as_str()),
        Some("created"),
        "{history:#?}"
    );
    assert_eq!(ends(history), 1, "{history:#?}");
    assert!(
        history
            .last()
            .is_some_and(|event| ENDS.contains(&event.kind.as_str())),
        "{history:#?}"
    );
}
