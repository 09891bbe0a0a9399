use std::time::Duration;

use chrono::{SubsecRound, TimeDelta};
use proptest::{collection::vec, prelude::*};
use sutazai_proto::ErrorCode;

use super::*;

const WORKER: &str = "worker-1";

/// Something that someone does to a task, at random.
#[derive(Clone, Debug)]
enum Act {
    Confirm,
    Claim,
    Succeed { late: bool },
    Fail { retryable: bool, late: bool },
    Stop,
    Lose { overdue: bool },
    Cancel,
    Expire,
    GiveUp,
    Wait(u16),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        2 => Just(Act::Confirm),
        6 => Just(Act::Claim),
        2 => any::<bool>().prop_map(|late| Act::Succeed { late }),
        4 => any::<(bool, bool)>().prop_map(|(retryable, late)| Act::Fail { retryable, late }),
        1 => Just(Act::Stop),
        3 => any::<bool>().prop_map(|overdue| Act::Lose { overdue }),
        1 => Just(Act::Cancel),
        1 => Just(Act::Expire),
        2 => Just(Act::GiveUp),
        4 => (0_u16..200).prop_map(Act::Wait),
    ]
}

fn spec(effect_mode: EffectMode, max_attempts: u32, life: Option<i64>) -> Spec {
    Spec {
        tenant: "default".to_owned(),
        subject: "alice".to_owned(),
        roles: vec!["user".to_owned()],
        scopes: Vec::new(),
        trace: [("traceparent".to_owned(), "00-1-2-01".to_owned())].into(),
        task_type: "llm.generate".parse().unwrap(),
        priority: 5,
        max_attempts,
        effect_mode,
        attempt_timeout: Duration::from_secs(60),
        expires_at: life.map(|seconds| start() + TimeDelta::seconds(seconds)),
    }
}

fn start() -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::days(20_000)
}

fn failure() -> Failure {
    Failure::new(ErrorCode::Unavailable, "node_failed", "the node went away")
}

fn created(effect_mode: EffectMode, max_attempts: u32, life: Option<i64>) -> Change {
    let input = Payload {
        data: "{}".into(),
        content_type: "application/json".to_owned(),
    };
    Task::create(
        TaskId::new(),
        spec(effect_mode, max_attempts, life),
        input,
        start(),
    )
}

fn decide(task: &Task, act: &Act, now: DateTime<Utc>) -> Vec<Event> {
    let retry_at = now + TimeDelta::seconds(5);
    let attempt = |late: bool| {
        if late {
            task.attempt.saturating_sub(1)
        } else {
            task.attempt
        }
    };
    let finish = |late, outcome| {
        task.finish(attempt(late), WORKER, outcome, retry_at)
            .unwrap_or_default()
    };
    match act {
        Act::Confirm => task.release(),
        Act::Claim => task.claim(WORKER, now).unwrap_or_default(),
        Act::Succeed { late } => finish(*late, Outcome::Succeeded(Payload::default())),
        Act::Fail { retryable, late } => finish(
            *late,
            Outcome::Failed {
                error: failure(),
                retryable: *retryable,
            },
        ),
        Act::Stop => finish(false, Outcome::Cancelled),
        Act::Lose { overdue: true } => task.lose(Loss::Overdue, retry_at),
        Act::Lose { overdue: false } => task.lose(Loss::Silent, retry_at),
        Act::Cancel => task.cancel(),
        Act::Expire => task.expire(now),
        Act::GiveUp => task.give_up_release("delivery_limit", retry_at),
        Act::Wait(_) => Vec::new(),
    }
}

/// Lets acts happen one after the other; answers the task and its whole history.
fn live(first: &Change, acts: &[Act]) -> (Task, Vec<Recorded>) {
    let (mut task, mut history) = (first.task().clone(), first.events().to_vec());
    let mut now = start();
    for act in acts {
        if let Act::Wait(seconds) = act {
            now += TimeDelta::seconds((*seconds).into());
        }
        let events = decide(&task, act, now);
        let change = task
            .record(events, now)
            .expect("a command decided on an illegal event");
        history.extend(change.events().iter().cloned());
        task = change.task().clone();
    }
    (task, history)
}

fn starts(history: &[Recorded]) -> usize {
    history
        .iter()
        .filter(|recorded| matches!(recorded.event, Event::Started { .. }))
        .count()
}

proptest! {
    #[test]
    fn tsk_13_the_state_is_what_the_events_fold_to(
        once: bool, most in 1_u32..6, life in proptest::option::of(1_i64..600), acts in vec(act(), 0..60),
    ) {
        let mode = if once { EffectMode::AtMostOnce } else { EffectMode::Idempotent };
        let first = created(mode, most, life);
        let (task, history) = live(&first, &acts);

        prop_assert_eq!(Task::fold(task.id, &history).unwrap().unwrap(), task.clone());
        for (recorded, sequence) in history.iter().zip(1..) {
            prop_assert_eq!(recorded.sequence, sequence);
            let text = serde_json::to_string(&recorded.event).unwrap();
            let mut back: Event = serde_json::from_str(&text).unwrap();
            back.set_payload(recorded.event.payload().cloned().unwrap_or_default());
            prop_assert_eq!(&back, &recorded.event);
        }
        for pair in history.windows(2) {
            prop_assert!(pair[0].at <= pair[1].at);
            prop_assert!(pair[0].attempt <= pair[1].attempt);
            prop_assert!(!pair[0].state.is_terminal(), "nothing follows a terminal event");
        }
        let terminal = history.iter().filter(|recorded| recorded.state.is_terminal()).count();
        prop_assert_eq!(terminal, usize::from(task.state.is_terminal()));
        prop_assert!(task.attempt <= most);
        prop_assert!(starts(&history) <= most as usize);
        if once {
            prop_assert!(starts(&history) <= 1, "started twice");
        }
        prop_assert_eq!(task.worker.is_some(), task.state == State::Running);
        prop_assert_eq!(task.finished_at.is_some(), task.state.is_terminal());
    }

    #[test]
    fn tsk_13_no_event_at_all_follows_a_terminal_one(acts in vec(act(), 0..60), event in any_event()) {
        let (task, _) = live(&created(EffectMode::Idempotent, 3, Some(300)), &acts);
        if task.state.is_terminal() {
            prop_assert!(task.record(vec![event], start()).is_err());
        }
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let error = failure();
    let events = vec![
        Event::Created {
            spec: Box::new(spec(EffectMode::Idempotent, 3, None)),
            input: Payload::default(),
        },
        Event::Released,
        Event::Started {
            attempt: 1,
            worker: WORKER.to_owned(),
        },
        Event::AttemptFailed {
            attempt: 1,
            error: error.clone(),
            retry_at: start(),
        },
        Event::CancelRequested,
        Event::Succeeded {
            result: Payload::default(),
        },
        Event::Failed {
            attempt: 1,
            error: error.clone(),
            parked: false,
        },
        Event::Cancelled,
        Event::Interrupted {
            error: error.clone(),
        },
        Event::Expired { error },
    ];
    proptest::sample::select(events)
}

#[test]
fn tsk_13_each_state_admits_just_its_events() {
    let admitted = |task: &Task| -> Vec<String> {
        let error = failure();
        let events = [
            Event::Released,
            Event::Started {
                attempt: task.attempt + 1,
                worker: WORKER.to_owned(),
            },
            Event::AttemptFailed {
                attempt: task.attempt,
                error: error.clone(),
                retry_at: start(),
            },
            Event::CancelRequested,
            Event::Succeeded {
                result: Payload::default(),
            },
            Event::Failed {
                attempt: task.attempt,
                error: error.clone(),
                parked: false,
            },
            Event::Cancelled,
            Event::Interrupted {
                error: error.clone(),
            },
            Event::Expired { error },
        ];
        let kind = |event: &Event| serde_json::to_value(event).unwrap()["kind"].to_string();
        let legal = |event: &&Event| task.clone().record(vec![(*event).clone()], start()).is_ok();
        events
            .iter()
            .filter(legal)
            .map(|event| kind(event).replace('"', ""))
            .collect()
    };
    let queued = created(EffectMode::Idempotent, 3, None);
    assert_eq!(
        admitted(queued.task()),
        ["released", "cancelled"],
        "nothing starts before release"
    );
    let mortal = created(EffectMode::Idempotent, 3, Some(1));
    assert_eq!(
        admitted(mortal.task()),
        ["released", "cancelled", "expired"]
    );
    let (released, _) = live(&queued, &[Act::Confirm]);
    assert_eq!(admitted(&released), ["released", "started", "cancelled"]);
    let (running, _) = live(&queued, &[Act::Claim]);
    assert_eq!(
        admitted(&running),
        ["attempt_failed", "cancel_requested", "succeeded", "failed"]
    );
    let (cancelling, _) = live(&queued, &[Act::Claim, Act::Cancel]);
    assert_eq!(admitted(&cancelling), ["succeeded", "failed", "cancelled"]);
    let once = created(EffectMode::AtMostOnce, 3, None);
    let (running, _) = live(&once, &[Act::Claim]);
    assert_eq!(
        admitted(&running),
        ["cancel_requested", "succeeded", "failed", "interrupted"]
    );
}

#[test]
fn tsk_07_attempts_are_repeated_until_they_are_used_up_and_then_parked() {
    let first = created(EffectMode::Idempotent, 3, None);
    let lost = Act::Lose { overdue: false };
    let round = [Act::Claim, lost, Act::Wait(10)];
    let acts: Vec<Act> = round.iter().cycle().take(9).cloned().collect();
    let (task, history) = live(&first, &acts);
    assert_eq!(
        (task.state, task.attempt, starts(&history)),
        (State::Failed, 3, 3)
    );
    assert_eq!(task.error.as_ref().unwrap().reason(), "worker_lost");
    assert!(matches!(
        history.last().unwrap().event,
        Event::Failed { parked: true, .. }
    ));
}

#[test]
fn tsk_07_a_retry_is_refused_before_its_time() {
    let first = created(EffectMode::Idempotent, 3, None);
    let (task, _) = live(
        &first,
        &[
            Act::Claim,
            Act::Fail {
                retryable: true,
                late: false,
            },
        ],
    );
    let time = task.not_before.unwrap();
    assert_eq!(
        task.claim(WORKER, time - TimeDelta::microseconds(1)),
        Err(Refusal::Early)
    );
    assert!(task.claim(WORKER, time).is_ok());
}

#[test]
fn tsk_06_only_the_current_attempt_of_its_worker_can_end_a_task() {
    let first = created(EffectMode::Idempotent, 3, None);
    let lost = Act::Lose { overdue: false };
    let (task, _) = live(&first, &[Act::Claim, lost, Act::Wait(10), Act::Claim]);
    assert_eq!(task.attempt, 2);
    let succeed = |attempt, worker| {
        task.finish(
            attempt,
            worker,
            Outcome::Succeeded(Payload::default()),
            start(),
        )
    };
    assert!(succeed(1, WORKER).is_err());
    assert!(succeed(3, WORKER).is_err());
    assert!(succeed(2, "worker-2").is_err());
    assert!(succeed(2, WORKER).is_ok());
}

#[test]
fn tsk_07_what_ran_at_most_once_is_never_run_again() {
    let first = created(EffectMode::AtMostOnce, 3, None);
    for (end, state) in [
        (Act::Lose { overdue: false }, State::Interrupted),
        (Act::Lose { overdue: true }, State::Interrupted),
        (Act::Stop, State::Interrupted),
        (
            Act::Fail {
                retryable: true,
                late: false,
            },
            State::Failed,
        ),
    ] {
        let (task, _) = live(&first, &[Act::Claim, end, Act::Wait(10), Act::Claim]);
        assert_eq!((task.state, task.attempt), (state, 1));
    }
    let (task, _) = live(&first, &[Act::GiveUp, Act::Wait(10), Act::Claim]);
    assert_eq!(
        task.state,
        State::Running,
        "a release that never started may be repeated"
    );
}

#[test]
fn a_cancelled_task_ends_as_its_worker_says_but_is_not_repeated() {
    let first = created(EffectMode::Idempotent, 3, None);
    for (end, state) in [
        (Act::Stop, State::Cancelled),
        (
            Act::Fail {
                retryable: true,
                late: false,
            },
            State::Cancelled,
        ),
        (Act::Lose { overdue: false }, State::Cancelled),
        (Act::Succeed { late: false }, State::Succeeded),
    ] {
        let (task, _) = live(
            &first,
            &[Act::Claim, Act::Cancel, Act::Cancel, end, Act::Cancel],
        );
        assert_eq!(task.state, state);
    }
}

#[test]
fn a_clock_that_steps_back_does_not_turn_the_history() {
    let first = created(EffectMode::Idempotent, 3, None);
    let (task, _) = live(&first, &[Act::Wait(100), Act::Confirm]);
    let change = task.clone().record(vec![Event::Released], start()).unwrap();
    assert_eq!(change.events()[0].at, task.updated_at);
    assert_eq!(
        start().trunc_subsecs(6),
        start(),
        "the database keeps microseconds"
    );
}
