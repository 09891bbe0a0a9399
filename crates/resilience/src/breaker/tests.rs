//! The scenarios of requirements CB-03 and CB-04, on a clock that the test moves.

use std::io;

use failsafe::clock::freeze;

use super::*;

fn breaker() -> Breaker {
    Breaker::new("test", Settings::default())
}

fn fail(breaker: &Breaker, times: u32) {
    for _ in 0..times {
        breaker.permit().unwrap().failure("connection refused");
    }
}

fn state(breaker: &Breaker) -> State {
    breaker.snapshot().state
}

const ALMOST: Duration = Duration::from_millis(999);
const JUST_OVER: Duration = Duration::from_millis(2);

#[test]
fn cb_03_five_failures_in_a_row_open_it_and_fewer_do_not() {
    let breaker = breaker();
    fail(&breaker, 4);
    breaker.permit().unwrap().success();
    fail(&breaker, 4);
    assert_eq!(state(&breaker), State::Closed);
    fail(&breaker, 1);
    assert_eq!(state(&breaker), State::Open);
    assert!(breaker.permit().is_err());

    let snapshot = breaker.snapshot();
    assert_eq!(
        (snapshot.successes, snapshot.failures, snapshot.rejections),
        (1, 9, 1)
    );
    assert_eq!(snapshot.last_error.as_deref(), Some("connection refused"));
    assert!(snapshot.next_try_in.unwrap() <= Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn cb_03_slow_answers_do_not_open_it() {
    let breaker = breaker();
    for _ in 0..1_000 {
        let slow = async {
            tokio::time::sleep(Duration::from_mins(1)).await;
            Ok::<_, io::Error>(())
        };
        let deadline = Deadline::after(Duration::from_secs(61));
        breaker.call(deadline, |_| true, slow).await.unwrap();
    }
    assert_eq!(state(&breaker), State::Closed);
}

#[tokio::test]
async fn cb_03_errors_that_are_answers_do_not_open_it() {
    let breaker = breaker();
    for _ in 0..10 {
        let deadline = Deadline::after(Duration::from_secs(60));
        let answer = async { Err::<(), _>(io::Error::other("no such row")) };
        let outcome = breaker.call(deadline, |_| false, answer).await;
        assert!(matches!(outcome, Err(CallError::Inner(_))));
    }
    assert_eq!(state(&breaker), State::Closed);
    assert_eq!(breaker.snapshot().failures, 0);
}

#[tokio::test(start_paused = true)]
async fn cb_03_silence_until_the_deadline_counts() {
    let breaker = breaker();
    for _ in 0..5 {
        let deadline = Deadline::after(Duration::from_secs(1));
        let silent = std::future::pending::<Result<(), io::Error>>();
        let outcome = breaker.call(deadline, |_| true, silent).await;
        assert!(matches!(outcome, Err(CallError::Timeout(_))));
    }
    assert_eq!(state(&breaker), State::Open);
}

#[tokio::test(start_paused = true)]
async fn cb_03_a_deadline_that_is_already_over_blames_nobody() {
    let breaker = breaker();
    for _ in 0..10 {
        let spent = Deadline::after(Duration::ZERO);
        let outcome = breaker
            .call(spent, |_| true, async { Ok::<_, io::Error>(()) })
            .await;
        assert!(matches!(outcome, Err(CallError::Timeout(_))));
    }
    assert_eq!(breaker.snapshot().failures, 0);
}

#[test]
fn cb_04_it_recovers_by_one_good_probe() {
    freeze(|clock| {
        let breaker = breaker();
        fail(&breaker, 5);
        clock.advance(ALMOST);
        assert!(breaker.permit().unwrap_err().retry_after <= JUST_OVER);
        clock.advance(JUST_OVER);
        let probe = breaker.permit().unwrap();
        assert_eq!(state(&breaker), State::HalfOpen);
        probe.success();
        assert_eq!(state(&breaker), State::Closed);
        fail(&breaker, 4);
        assert_eq!(state(&breaker), State::Closed);
    });
}

#[test]
fn cb_04_a_failed_probe_opens_it_again_for_longer_at_most() {
    freeze(|clock| {
        let breaker = breaker();
        fail(&breaker, 5);
        for attempt in 2..20 {
            clock.advance(breaker.snapshot().next_try_in.unwrap() + JUST_OVER);
            breaker.permit().unwrap().failure("still down");
            let wait = breaker.snapshot().next_try_in.unwrap();
            let open_for = Settings::default().open_for;
            assert!(wait >= open_for.min && wait <= open_for.ceiling(attempt));
        }
    });
}

#[test]
fn cb_04_a_thousand_callers_at_reopening_make_one_probe() {
    let settings = Settings {
        consecutive_failures: 1,
        open_for: Backoff {
            min: Duration::ZERO,
            max: Duration::ZERO,
        },
    };
    let breaker = Breaker::new("test", settings);
    fail(&breaker, 1);
    let start = std::sync::Barrier::new(20);
    // The probes are kept until all callers asked: a probe that ends makes room for the next.
    let permits: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    (0..50)
                        .filter_map(|_| breaker.permit().ok())
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        callers
            .into_iter()
            .flat_map(|caller| caller.join().unwrap())
            .collect()
    });
    assert_eq!(permits.len(), 1);
    assert_eq!(breaker.snapshot().rejections, 999);
}

#[tokio::test]
async fn cb_04_a_dropped_probe_does_not_wedge() {
    let settings = Settings {
        consecutive_failures: 1,
        open_for: Backoff {
            min: Duration::ZERO,
            max: Duration::ZERO,
        },
    };
    let breaker = Breaker::new("test", settings);
    fail(&breaker, 1);
    let deadline = Deadline::after(Duration::from_secs(60));
    {
        let silent = std::future::pending::<Result<(), io::Error>>();
        let mut call = Box::pin(breaker.call(deadline, |_| true, silent));
        assert!(is_pending(&mut call).await, "the probe is on its way");
        assert!(
            breaker.permit().is_err(),
            "a second call would be a second probe"
        );
    }
    assert_eq!(state(&breaker), State::HalfOpen);
    let answer = async { Ok::<_, io::Error>(()) };
    breaker.call(deadline, |_| true, answer).await.unwrap();
    assert_eq!(state(&breaker), State::Closed);
}

/// Polls once; true when the future is not done.
async fn is_pending(future: &mut (impl Future + Unpin)) -> bool {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(cx).is_pending())
    })
    .await
}

#[test]
fn cb_04_results_of_calls_before_the_trip_change_nothing() {
    freeze(|clock| {
        let breaker = breaker();
        let (late_success, late_failure) = (breaker.permit().unwrap(), breaker.permit().unwrap());
        fail(&breaker, 5);
        clock.advance(ALMOST + JUST_OVER);
        let probe = breaker.permit().unwrap();
        late_success.success();
        assert_eq!(
            state(&breaker),
            State::HalfOpen,
            "a late success must not close it"
        );
        late_failure.failure("late");
        assert_eq!(
            state(&breaker),
            State::HalfOpen,
            "a late failure must not open it"
        );
        assert!(
            breaker.permit().is_err(),
            "the probe's place is still taken"
        );
        probe.success();
        assert_eq!(state(&breaker), State::Closed);
    });
}

#[test]
fn cb_05_forced_open_it_stays_open_until_reset() {
    freeze(|clock| {
        let breaker = breaker();
        let in_flight = breaker.permit().unwrap();
        breaker.force_open("alice");
        in_flight.success();
        clock.advance(Duration::from_hours(1));
        assert!(breaker.permit().is_err());
        assert_eq!(breaker.snapshot().next_try_in, None);
        breaker.reset("alice");
        assert_eq!(state(&breaker), State::Closed);
        breaker.permit().unwrap().success();
    });
}

#[test]
fn cb_05_reset_forgets_failures_and_probes_in_flight() {
    freeze(|clock| {
        let breaker = breaker();
        fail(&breaker, 4);
        breaker.reset("alice");
        fail(&breaker, 4);
        assert_eq!(state(&breaker), State::Closed);
        fail(&breaker, 1);
        clock.advance(ALMOST + JUST_OVER);
        let probe = breaker.permit().unwrap();
        breaker.reset("alice");
        probe.failure("late");
        assert_eq!(state(&breaker), State::Closed);
    });
}

#[test]
fn cb_05_forced_closed_it_lets_every_call_pass_until_reset() {
    let breaker = breaker();
    fail(&breaker, 5);
    breaker.force_closed("alice");
    fail(&breaker, 100);
    let held = breaker.snapshot();
    assert_eq!((held.state, held.forced), (State::Closed, true));
    assert_eq!(held.failures, 105, "they still count for the status page");

    // What began while it was held says nothing about the time after.
    let late = breaker.permit().unwrap();
    breaker.reset("alice");
    late.failure("late");
    fail(&breaker, 4);
    assert!(!breaker.snapshot().forced);
    assert_eq!(state(&breaker), State::Closed);
    fail(&breaker, 1);
    assert_eq!(state(&breaker), State::Open);
}

#[test]
fn cb_05_an_operator_may_change_from_one_hold_to_the_other() {
    let breaker = breaker();
    breaker.force_open("alice");
    breaker.force_closed("bob");
    assert!(breaker.permit().is_ok());
    breaker.force_open("bob");
    assert!(breaker.permit().is_err());
}

#[test]
fn cb_05_the_history_says_what_happened_and_who_did_it() {
    freeze(|clock| {
        let breaker = breaker();
        fail(&breaker, 5);
        clock.advance(ALMOST + JUST_OVER);
        breaker.permit().unwrap().success();
        breaker.force_open("alice");
        breaker.force_closed("bob");
        breaker.reset("carol");
        let history = breaker.history();
        let (closed, half, open) = (State::Closed, State::HalfOpen, State::Open);
        let expected = [
            (closed, open, Cause::Failed("connection refused".to_owned())),
            (open, half, Cause::Waited),
            (half, closed, Cause::Recovered),
            (closed, open, Cause::ForcedOpen("alice".to_owned())),
            (open, closed, Cause::ForcedClosed("bob".to_owned())),
            (closed, closed, Cause::Reset("carol".to_owned())),
        ];
        let found = history
            .iter()
            .map(|one| (one.from, one.to, one.cause.clone()));
        assert!(found.eq(expected), "{history:#?}");
        assert!(history.is_sorted_by_key(|one| one.at));
    });
}

#[test]
fn the_history_keeps_the_newest_and_no_more() {
    let breaker = breaker();
    for turn in 0..=HISTORY_LIMIT {
        breaker.reset(&turn.to_string());
    }
    let history = breaker.history();
    assert_eq!(history.len(), HISTORY_LIMIT);
    assert_eq!(history[0].cause.operator(), Some("1"));
}

#[test]
fn texts_of_foreign_errors_are_cut() {
    let breaker = breaker();
    breaker.permit().unwrap().failure(&"é".repeat(10_000));
    assert_eq!(breaker.snapshot().last_error.unwrap().chars().count(), 256);
}
