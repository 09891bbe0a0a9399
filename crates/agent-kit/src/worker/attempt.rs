//! One attempt: the agent's work under its timeout, cancellation and the end of the worker.

use std::{any::Any, panic::AssertUnwindSafe, time::Duration};

use futures::FutureExt;
use sutazai_proto::ErrorCode;
use sutazai_proto::tasks::v1::{AttemptCancelled, EffectMode, task_finished::Outcome};
use tokio_util::sync::CancellationToken;

use crate::agent::{Agent, PAYLOAD_LIMIT};
use crate::{Failure, Payload, TaskContext};

/// How long an attempt may go on after it was asked to stop; the promise is 2 s from the request,
/// of which a heartbeat takes up to one.
const CANCEL_GRACE: Duration = Duration::from_millis(500);

/// What can end an attempt from outside.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stops {
    /// The task is to be cancelled: stop and say so.
    pub(crate) cancel: CancellationToken,
    /// The attempt is not ours (any more): stop and say nothing.
    pub(crate) forget: CancellationToken,
    /// The worker ends: stop and hand the task back.
    pub(crate) drained: CancellationToken,
}

/// Runs the agent; `None` when the attempt turned out not to be ours.
pub(crate) async fn supervise(
    agent: &dyn Agent,
    task: TaskContext,
    mode: EffectMode,
    stops: &Stops,
) -> Option<Outcome> {
    // Whatever the agent started besides its future sees the end of the attempt too.
    let _ended = task.cancelled.clone().drop_guard();
    let signal = task.cancelled.clone();
    let deadline = task.deadline;
    let work = AssertUnwindSafe(agent.run(task)).catch_unwind();
    tokio::pin!(work);

    // After an effect that may have happened, at most once means not again.
    let ours = |code, reason, message: &str| {
        let again = mode == EffectMode::Idempotent;
        Some(failed(Failure::new(code, reason, message).retryable(again)))
    };
    tokio::select! {
        biased;
        () = stops.forget.cancelled() => None,
        result = &mut work => match result {
            Ok(Err(_)) if stops.cancel.is_cancelled() => Some(Outcome::Cancelled(AttemptCancelled {})),
            Ok(result) => Some(outcome(result)),
            Err(panic) => ours(ErrorCode::Internal, "agent_panicked", panic_text(&*panic)),
        },
        () = stop_after_grace(&stops.cancel, &signal) => Some(Outcome::Cancelled(AttemptCancelled {})),
        () = stops.drained.cancelled() => {
            ours(ErrorCode::Unavailable, "worker_draining", "the worker ends and hands the task back")
        }
        () = tokio::time::sleep(deadline.remaining()) => {
            ours(ErrorCode::DeadlineExceeded, "attempt_timeout", "the time of the attempt is over")
        }
    }
}

async fn stop_after_grace(cancel: &CancellationToken, signal: &CancellationToken) {
    cancel.cancelled().await;
    signal.cancel();
    tokio::time::sleep(CANCEL_GRACE).await;
}

fn outcome(result: Result<Payload, Failure>) -> Outcome {
    match result {
        Ok(payload) if payload.data.len() <= PAYLOAD_LIMIT => Outcome::Succeeded(payload),
        Ok(payload) => {
            let size = payload.data.len();
            let message = format!("the result has {size} bytes, the limit is {PAYLOAD_LIMIT}");
            failed(Failure::new(
                ErrorCode::TooLarge,
                "result_too_large",
                message,
            ))
        }
        Err(failure) => failed(failure),
    }
}

fn failed(failure: Failure) -> Outcome {
    Outcome::Failed(failure.into())
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("the agent panicked")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use async_trait::async_trait;
    use sutazai_auth::principal::Principal;
    use sutazai_mesh::catalog::ServiceName;
    use sutazai_resilience::Deadline;

    use super::*;
    use crate::{About, Capability, Progress};

    /// Does what the input says.
    struct Puppet;

    #[async_trait]
    impl Agent for Puppet {
        fn about(&self) -> About {
            About {
                name: ServiceName::AutomationAgent,
                version: "0.0.0",
                description: "does what it is told",
            }
        }

        fn capabilities(&self) -> Vec<Capability> {
            Vec::new()
        }

        fn slots(&self) -> u16 {
            1
        }

        async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
            match task.input.data.as_ref() {
                b"panic" => panic!("told to"),
                b"fail" => Err(Failure::invalid("told to")),
                b"obey" => {
                    task.cancelled.cancelled().await;
                    Err(Failure::invalid("stopped half way"))
                }
                b"large" => Ok(Payload {
                    data: vec![0; PAYLOAD_LIMIT + 1].into(),
                    ..Payload::default()
                }),
                b"hang" => pending().await,
                _ => Ok(task.input),
            }
        }
    }

    fn context(told: &'static str) -> TaskContext {
        TaskContext {
            task_id: "t".to_owned(),
            task_type: "puppet".to_owned(),
            input: Payload {
                data: told.into(),
                ..Payload::default()
            },
            principal: Principal::from_parts("alice", "default", &[], &[]).unwrap(),
            deadline: Deadline::after(Duration::from_secs(60)),
            cancelled: CancellationToken::new(),
            progress: Progress::silent(),
        }
    }

    async fn run(told: &'static str, mode: EffectMode, stops: &Stops) -> Option<Outcome> {
        supervise(&Puppet, context(told), mode, stops).await
    }

    async fn failure(told: &'static str, mode: EffectMode, stops: &Stops) -> (String, bool) {
        match run(told, mode, stops).await {
            Some(Outcome::Failed(failed)) => (failed.error.unwrap().reason, failed.retryable),
            other => panic!("{told}: {other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tsk_07_what_fails_is_retried_only_where_that_is_safe() {
        use EffectMode::{AtMostOnce, Idempotent};
        let drained = Stops::default();
        drained.drained.cancel();
        let calm = Stops::default();
        for (told, stops, reason) in [
            ("panic", &calm, "agent_panicked"),
            ("hang", &calm, "attempt_timeout"),
            ("hang", &drained, "worker_draining"),
        ] {
            assert_eq!(
                failure(told, Idempotent, stops).await,
                (reason.to_owned(), true)
            );
            assert_eq!(
                failure(told, AtMostOnce, stops).await,
                (reason.to_owned(), false)
            );
        }
        let refused = failure("fail", Idempotent, &calm).await;
        assert_eq!(refused, ("validation_failed".to_owned(), false));
        let large = failure("large", Idempotent, &calm).await;
        assert_eq!(large, ("result_too_large".to_owned(), false));
        let done = run("echo", AtMostOnce, &calm).await;
        assert!(matches!(done, Some(Outcome::Succeeded(payload)) if payload.data == "echo"));
    }

    #[tokio::test(start_paused = true)]
    async fn tsk_06_a_cancelled_attempt_ends_within_its_grace_whether_it_listens_or_not() {
        for told in ["obey", "hang"] {
            let stops = Stops::default();
            stops.cancel.cancel();
            let start = tokio::time::Instant::now();
            let outcome = run(told, EffectMode::Idempotent, &stops).await;
            assert!(
                matches!(outcome, Some(Outcome::Cancelled(_))),
                "{told}: {outcome:?}"
            );
            assert!(start.elapsed() <= CANCEL_GRACE);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tsk_06_an_attempt_that_is_not_ours_has_no_outcome() {
        let stops = Stops::default();
        stops.forget.cancel();
        assert_eq!(run("echo", EffectMode::Idempotent, &stops).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_agent_leaves_behind_sees_the_end_of_the_attempt() {
        let task = context("echo");
        let left_behind = task.cancelled.clone();
        supervise(&Puppet, task, EffectMode::Idempotent, &Stops::default()).await;
        assert!(left_behind.is_cancelled());
    }
}
