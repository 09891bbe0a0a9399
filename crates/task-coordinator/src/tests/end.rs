//! Cancelling and expiring.

use chrono::TimeDelta;
use sutazai_proto::tasks::v1::TaskFinished;

use super::*;
use crate::lease::Verdict;
use crate::store::Finished;

#[tokio::test]
async fn a_queued_task_is_cancelled_at_once_and_asking_again_changes_nothing() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let task = bench.submit().await;
    assert_eq!(bench.relay.step().await.unwrap().released, 1);
    let view = bench.tasks.cancel(TENANT, task).await.unwrap();
    is(&view.task, State::Cancelled);
    assert_eq!(bench.tasks.cancel(TENANT, task).await.unwrap(), view);
    assert_eq!(
        bench.kinds(task).await,
        ["created", "released", "cancelled"]
    );
    assert_eq!(bench.count("select count(*) from outbox").await, 0);
    let late = bench.leases.claim(&worker, &[task]).await.unwrap();
    assert_eq!(
        late,
        [Claimed::Refused(crate::task::Refusal::Ended)],
        "the message is still there"
    );
}

#[tokio::test]
async fn a_running_task_is_cancelled_when_its_worker_stops() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    let view = bench.tasks.cancel(TENANT, attempt.task).await.unwrap();
    is(&view.task, State::Running);
    assert!(view.task.cancel_requested);
    let verdicts = bench
        .leases
        .heartbeat(&worker, &[], &[attempt], &[])
        .await
        .unwrap();
    assert_eq!(verdicts, [(attempt, Verdict::Cancel)]);
    bench.finish(attempt, &worker, Outcome::Cancelled).await;
    is(&bench.task(attempt.task).await, State::Cancelled);
    let expected = [
        "created",
        "released",
        "started",
        "cancel_requested",
        "cancelled",
    ];
    assert_eq!(bench.kinds(attempt.task).await, expected);
}

#[tokio::test]
async fn r5_a_running_task_is_cancelled_without_a_broker() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.tasks.cancel(TENANT, attempt.task).await.unwrap();
    let verdicts = bench
        .leases
        .heartbeat(&worker, &[], &[attempt], &[attempt])
        .await
        .unwrap();
    assert_eq!(verdicts, [(attempt, Verdict::Terminal)]);
    is(&bench.task(attempt.task).await, State::Cancelled);

    let message = TaskFinished::message_id(&attempt.task.to_string(), attempt.attempt);
    let late = report(
        topology::COORDINATOR_EVENTS,
        &message,
        attempt,
        &worker,
        Outcome::Cancelled,
    );
    let (ends_of, changes) = bench.store.finish(&[late]).await.unwrap();
    assert_eq!(ends_of, [Finished::Repeated], "its message is known");
    assert!(changes.is_empty());
    assert_eq!(ends(&bench.history(attempt.task).await), 1);
}

#[tokio::test]
async fn a_running_task_whose_worker_is_lost_is_cancelled_by_the_reaper() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.tasks.cancel(TENANT, attempt.task).await.unwrap();
    bench.pass(16).await;
    assert_eq!(bench.reaper.step().await.unwrap(), 1);
    is(&bench.task(attempt.task).await, State::Cancelled);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_29_cancelling_races_with_success_and_there_is_one_end() {
    let bench = Arc::new(Bench::start().await);
    let worker = bench.worker("w", 50).await;
    for _ in 0..40 {
        let attempt = bench.begin(&worker, TYPE).await;
        let finishing = {
            let (bench, worker) = (bench.clone(), worker.clone());
            tokio::spawn(async move { bench.finish(attempt, &worker, success()).await })
        };
        let cancelling = {
            let bench = bench.clone();
            tokio::spawn(async move { bench.tasks.cancel(TENANT, attempt.task).await })
        };
        let claiming = bench.leases.claim(&worker, &[attempt.task]).await.unwrap();
        assert!(!matches!(claiming[0], Claimed::Granted { .. }));
        finishing.await.unwrap();
        cancelling.await.unwrap().unwrap();
        is(&bench.task(attempt.task).await, State::Succeeded);
        assert_eq!(ends(&bench.history(attempt.task).await), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g_28_a_lease_that_ends_during_the_final_write_ends_the_attempt_once() {
    let bench = Arc::new(Bench::with(hasty()).await);
    let worker = bench.worker("w", 50).await;
    for _ in 0..30 {
        let attempt = bench.begin(&worker, TYPE).await;
        bench.pass(16).await;
        let finishing = {
            let (bench, worker) = (bench.clone(), worker.clone());
            tokio::spawn(async move { bench.finish(attempt, &worker, success()).await })
        };
        bench.reaper.step().await.unwrap();
        finishing.await.unwrap();
        let task = bench.task(attempt.task).await;
        assert!(
            matches!(task.state, State::Succeeded | State::Queued),
            "{task:?}"
        );
        assert!(ends(&bench.history(attempt.task).await) <= 1);
        let leases = bench.count("select count(*) from leases").await;
        assert_eq!(leases, 0, "neither way leaves a lease");
    }
}

#[tokio::test]
async fn a_task_expires_at_its_time_queued_or_running() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let mortal = || Submission {
        expires_in: Some(TimeDelta::milliseconds(1500)),
        ..submission()
    };
    let queued = bench.submit_as(mortal()).await.task.id;
    let running = bench.submit_as(mortal()).await.task.id;
    let attempt = bench.claim(&worker, running).await;
    let immortal = bench.submit().await;
    assert_eq!(bench.reaper.step().await.unwrap(), 0, "not before its time");
    let last = bench.task(running).await.spec.expires_at.unwrap();
    let wait = (last - chrono::Utc::now()).to_std().unwrap_or_default();
    tokio::time::sleep(wait + Duration::from_millis(10)).await;
    assert_eq!(
        bench.leases.claim(&worker, &[queued]).await.unwrap(),
        [Claimed::Refused(crate::task::Refusal::Ended)],
        "too late, whether the reaper came by or not",
    );
    assert_eq!(bench.reaper.step().await.unwrap(), 2);
    for task in [queued, running] {
        let task = bench.task(task).await;
        is(&task, State::Expired);
        assert_eq!(task.error.unwrap().reason(), "task_expired");
    }
    is(&bench.task(immortal).await, State::Queued);
    let verdicts = bench
        .leases
        .heartbeat(&worker, &[], &[attempt], &[])
        .await
        .unwrap();
    assert_eq!(verdicts, [(attempt, Verdict::Terminal)]);
    bench.finish(attempt, &worker, success()).await;
    assert_eq!(ends(&bench.history(running).await), 1);
}
