//! The oracle is itself under test: twenty faults, each planted alone, each has to be found.

use super::{Evidence, Promise, Sent, Stored, StoredEvent, Told};

/// A fault, with the promise that it breaks.
type Fault = (&'static str, Promise, fn(&mut Evidence));

const FAULTS: [Fault; 20] = [
    ("an accepted task is lost", Promise::Kept, |e| {
        e.tasks.remove(0);
    }),
    ("an accepted task has another id", Promise::Kept, |e| {
        e.tasks[0].id = "other".to_owned();
    }),
    ("a key has two tasks", Promise::OncePerKey, |e| {
        let twin = Stored {
            id: "twin".to_owned(),
            ..e.tasks[0].clone()
        };
        e.tasks.push(twin);
    }),
    (
        "an unanswered key has two tasks",
        Promise::OncePerKey,
        |e| {
            e.sent[0].told = Told::Unknown;
            e.tasks.push(e.tasks[0].clone());
        },
    ),
    ("a task that nobody sent", Promise::OncePerKey, |e| {
        e.tasks[0].key = "stranger".to_owned();
    }),
    ("a refused task is stored", Promise::RefusedIsAbsent, |e| {
        e.sent[1].told = Told::Refused;
    }),
    ("a task never ends", Promise::Ended, |e| {
        e.tasks[0].events.pop();
        e.tasks[0].state = "running".to_owned();
        e.tasks[0].effects = 0;
    }),
    ("a task has no event", Promise::Ended, |e| {
        e.tasks[0].events.clear();
    }),
    ("a task ends twice", Promise::EndedOnce, |e| {
        append(&mut e.tasks[0], "succeeded");
    }),
    ("a task succeeds after it failed", Promise::EndedOnce, |e| {
        append(&mut e.tasks[1], "succeeded");
        e.tasks[1].state = "succeeded".to_owned();
    }),
    ("an event is dropped", Promise::Contiguous, |e| {
        e.tasks[0].events.remove(1);
    }),
    ("an event is doubled", Promise::Contiguous, |e| {
        let again = e.tasks[0].events[1].clone();
        e.tasks[0].events.insert(1, again);
    }),
    ("events start at 0", Promise::Contiguous, |e| {
        for event in &mut e.tasks[0].events {
            event.sequence -= 1;
        }
    }),
    ("a state that no event led to", Promise::Folded, |e| {
        e.tasks[0].state = "cancelled".to_owned();
    }),
    ("a history without its beginning", Promise::Folded, |e| {
        e.tasks[0].events.remove(0);
        for (event, number) in e.tasks[0].events.iter_mut().zip(1..) {
            event.sequence = number;
        }
    }),
    ("a start after the end", Promise::NothingAfterEnd, |e| {
        append(&mut e.tasks[0], "started");
    }),
    ("an effect is doubled", Promise::EffectOnce, |e| {
        e.tasks[0].effects = 2;
    }),
    ("a launch is doubled", Promise::EffectOnce, |e| {
        e.tasks[2].launches = 2;
    }),
    ("a message is left", Promise::Settled, |e| {
        e.waiting_messages = 1;
    }),
    ("poison is not parked", Promise::Settled, |e| {
        e.dead_letters.clear();
    }),
];

/// Three tasks as they should be: a success, poison, and one that may start only once.
fn clean() -> Evidence {
    let task = |number: usize, state: &str| Stored {
        id: format!("id-{number}"),
        key: format!("key-{number}"),
        state: state.to_owned(),
        at_most_once: number == 3,
        events: history(&["created", "released", "started", state]),
        launches: 1,
        effects: usize::from(state == "succeeded"),
    };
    let sent = |number: usize, poison| Sent {
        key: format!("key-{number}"),
        told: Told::Accepted(format!("id-{number}")),
        poison,
    };
    Evidence {
        sent: vec![sent(1, false), sent(2, true), sent(3, false)],
        tasks: vec![
            task(1, "succeeded"),
            task(2, "failed"),
            task(3, "interrupted"),
        ],
        dead_letters: ["id-2".to_owned()].into(),
        ..Evidence::default()
    }
}

fn history(kinds: &[&str]) -> Vec<StoredEvent> {
    let numbered = kinds.iter().zip(1..);
    numbered
        .map(|(kind, sequence)| StoredEvent {
            sequence,
            kind: (*kind).to_owned(),
        })
        .collect()
}

fn append(task: &mut Stored, kind: &str) {
    let sequence = task.events.len() as u64 + 1;
    task.events.push(StoredEvent {
        sequence,
        kind: kind.to_owned(),
    });
}

#[test]
fn a_run_without_a_fault_is_clean() {
    let verdict = clean().judge();
    assert!(verdict.is_clean(), "{verdict}");
    let mut unanswered = clean();
    unanswered.sent.push(Sent {
        key: "never-stored".to_owned(),
        told: Told::Unknown,
        poison: false,
    });
    assert!(unanswered.judge().is_clean());
}

#[test]
fn r1_an_effect_that_nobody_saw_and_a_cut_that_is_no_interruption_are_found() {
    let plants: [fn(&mut Evidence); 3] = [
        |e| e.tasks[0].launches = 0,
        |e| {
            append(&mut e.tasks[2], "failed");
            e.tasks[2].state = "failed".to_owned();
        },
        |e| e.tasks[2].at_most_once = false,
    ];
    for plant in plants {
        let mut evidence = clean();
        plant(&mut evidence);
        let verdict = evidence.judge();
        assert!(verdict.count(Promise::EffectOnce) > 0, "{verdict}");
    }
}

#[test]
fn r1_twenty_of_twenty_planted_faults_are_found() {
    let mut found = 0;
    for (what, promise, plant) in FAULTS {
        let mut evidence = clean();
        plant(&mut evidence);
        let verdict = evidence.judge();
        assert!(
            verdict.count(promise) > 0,
            "{what} was not found as {promise:?}:\n{verdict}"
        );
        found += 1;
    }
    assert_eq!(found, 20);
}
