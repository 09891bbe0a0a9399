//! Claims, leases, and what happens when a worker is lost.

use chrono::TimeDelta;

use super::*;
use crate::lease::Verdict;
use crate::reaper::Sight;
use crate::store::Finished;
use crate::task::Refusal;

impl Bench {
    async fn verdict(&self, worker: &Worker, lease: AttemptRef) -> Verdict {
        self.leases
            .heartbeat(worker, &[], &[lease], &[])
            .await
            .unwrap()[0]
            .1
    }
}

#[tokio::test]
async fn a_claim_begins_the_attempt_under_a_lease() {
    let bench = Bench::start().await;
    let worker = bench.worker("w-1", 1).await;
    let tasks = [bench.submit().await, bench.submit().await];
    let unknown = TaskId::new();
    let claimed = bench
        .leases
        .claim(&worker, &[tasks[1], unknown, tasks[0], tasks[1]])
        .await
        .unwrap();
    let granted = Claimed::Granted {
        attempt: 1,
        lease: Duration::from_secs(15),
    };
    let held = Claimed::Refused(Refusal::Held);
    assert_eq!(
        claimed,
        [granted, Claimed::Unknown, granted, held],
        "in the order of the request"
    );

    let task = bench.task(tasks[0]).await;
    is(&task, State::Running);
    assert_eq!((task.attempt, task.worker.as_deref()), (1, Some("w-1")));
    assert_eq!(
        bench.kinds(tasks[0]).await,
        ["created", "released", "started"]
    );
    let other = bench.worker("w-2", 1).await;
    assert_eq!(
        bench.leases.claim(&other, &tasks).await.unwrap(),
        [held, held]
    );
    assert_eq!(bench.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn a_lease_lives_as_long_as_it_is_renewed() {
    let bench = Bench::start().await;
    let worker = bench.worker("w-1", 1).await;
    let other = bench.worker("w-2", 1).await;
    let attempt = bench.begin(&worker, TYPE).await;
    for _ in 0..3 {
        bench.pass(14).await;
        assert_eq!(bench.verdict(&worker, attempt).await, Verdict::Renewed);
        assert_eq!(bench.reaper.step().await.unwrap(), 0);
    }
    assert_eq!(
        bench.verdict(&other, attempt).await,
        Verdict::Lost,
        "not its lease"
    );
    let wrong = AttemptRef {
        attempt: 2,
        ..attempt
    };
    assert_eq!(bench.verdict(&worker, wrong).await, Verdict::Lost);
    let unknown = AttemptRef {
        task: TaskId::new(),
        attempt: 1,
    };
    assert_eq!(bench.verdict(&worker, unknown).await, Verdict::Lost);

    bench.pass(16).await;
    assert_eq!(bench.reaper.step().await.unwrap(), 1);
    assert_eq!(bench.reaper.step().await.unwrap(), 0, "once");
    assert_eq!(bench.verdict(&worker, attempt).await, Verdict::Lost);
    let task = bench.task(attempt.task).await;
    is(&task, State::Queued);
    assert_eq!(task.error.unwrap().reason(), "worker_lost");
}

#[tokio::test]
async fn many_leases_are_renewed_in_one_call_each_with_its_verdict() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 9).await;
    let mut leases = Vec::new();
    for _ in 0..6 {
        leases.push(bench.begin(&worker, TYPE).await);
    }
    bench.finish(leases[1], &worker, success()).await;
    bench.tasks.cancel(TENANT, leases[2].task).await.unwrap();
    bench.finish(leases[4], &worker, failed(true)).await;
    let answers = bench
        .leases
        .heartbeat(&worker, &[], &leases, &[])
        .await
        .unwrap();
    let (refs, verdicts): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    assert_eq!(refs, leases);
    let expected = [
        Verdict::Renewed,
        Verdict::Terminal,
        Verdict::Cancel,
        Verdict::Renewed,
        Verdict::Lost,
        Verdict::Renewed,
    ];
    assert_eq!(verdicts, expected);
}

#[tokio::test]
async fn tsk_06_two_hundred_late_workers_change_nothing() {
    let bench = Bench::with(hasty()).await;
    let slow = bench.worker("slow", 200).await;
    let fast = bench.worker("fast", 200).await;
    let mut late = Vec::new();
    for _ in 0..200 {
        late.push(bench.begin(&slow, TYPE).await);
    }
    bench.pass(16).await;
    while bench.reaper.step().await.unwrap() > 0 {}
    let ids: Vec<TaskId> = late.iter().map(|attempt| attempt.task).collect();
    let granted = bench.leases.claim(&fast, &ids).await.unwrap();
    assert!(
        granted
            .iter()
            .all(|claim| matches!(claim, Claimed::Granted { attempt: 2, .. }))
    );

    let mut accepted = 0;
    for (number, attempt) in late.iter().enumerate() {
        let outcome = match number % 3 {
            0 => success(),
            1 => failed(false),
            _ => Outcome::Cancelled,
        };
        let message = format!("late-{number}");
        let report = report("test", &message, *attempt, &slow, outcome);
        let (finished, _) = bench.store.finish(&[report]).await.unwrap();
        accepted += usize::from(finished != [Finished::Stale]);
    }
    assert_eq!(accepted, 0);
    let verdicts = bench
        .leases
        .heartbeat(&slow, &[], &late, &[])
        .await
        .unwrap();
    assert!(
        verdicts
            .iter()
            .all(|(_, verdict)| *verdict == Verdict::Lost)
    );
    for id in ids {
        bench
            .finish(
                AttemptRef {
                    task: id,
                    attempt: 2,
                },
                &fast,
                success(),
            )
            .await;
        assert_eq!(ends(&bench.history(id).await), 1);
        is(&bench.task(id).await, State::Succeeded);
    }
}

#[tokio::test]
async fn tsk_07_an_idempotent_task_is_retried_and_then_parked_with_its_reason() {
    let bench = Bench::with(hasty()).await;
    let worker = bench.worker("w", 5).await;
    let task = bench.submit().await;
    for number in 1..=3 {
        let attempt = bench.claim(&worker, task).await;
        assert_eq!(attempt.attempt, number);
        is(&bench.task(task).await, State::Running);
        if number == 2 {
            bench.pass(16).await;
            assert_eq!(bench.reaper.step().await.unwrap(), 1);
        } else {
            bench.finish(attempt, &worker, failed(true)).await;
        }
    }
    let parked = bench.task(task).await;
    is(&parked, State::Failed);
    assert_eq!(parked.error.unwrap().reason(), "node_failed");
    let expected = [
        "created",
        "released",
        "started",
        "attempt_failed",
        "released",
        "started",
        "attempt_failed",
        "released",
        "started",
        "failed",
    ];
    assert_eq!(bench.kinds(task).await, expected);
    let letter: (String, i32, String, String) =
        sqlx::query_as("select tenant_id, attempts, reason, type from dead_letters")
            .fetch_one(bench.db.pool())
            .await
            .unwrap();
    assert_eq!(
        letter,
        (
            TENANT.to_owned(),
            3,
            "node_failed".to_owned(),
            TYPE.to_owned()
        )
    );
    assert_eq!(
        bench.leases.claim(&worker, &[task]).await.unwrap(),
        [Claimed::Refused(Refusal::Ended)]
    );
}

#[tokio::test]
async fn tsk_07_a_failure_that_no_retry_can_mend_ends_the_task_at_once() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.finish(attempt, &worker, failed(false)).await;
    is(&bench.task(attempt.task).await, State::Failed);
    assert_eq!(
        bench.count("select count(*) from dead_letters").await,
        0,
        "not parked"
    );
}

#[tokio::test]
async fn tsk_07_at_most_once_is_interrupted_and_never_released_again() {
    let bench = Bench::with(hasty()).await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, ONCE).await;
    bench.pass(16).await;
    assert_eq!(bench.reaper.step().await.unwrap(), 1);
    let task = bench.task(attempt.task).await;
    is(&task, State::Interrupted);
    assert_eq!(task.error.unwrap().reason(), "worker_lost");

    bench.pass(3600).await;
    bench.report(&worker, 5).await;
    assert_eq!(
        bench.relay.step().await.unwrap(),
        crate::outbox::Step::default()
    );
    assert_eq!(
        bench
            .restarted()
            .await
            .store
            .release_all_again()
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        bench.leases.claim(&worker, &[attempt.task]).await.unwrap(),
        [Claimed::Refused(Refusal::Ended)]
    );
    bench.finish(attempt, &worker, success()).await;
    is(&bench.task(attempt.task).await, State::Interrupted);
    assert_eq!(
        bench.kinds(attempt.task).await,
        ["created", "released", "started", "interrupted"]
    );
}

/// What the reaper knows that has looked once a second, `since` so many seconds and for six.
async fn sight(bench: &Bench, since: i64) -> Sight {
    let first = bench.store.clock().await.unwrap() - TimeDelta::seconds(since);
    let mut sight = Sight::default();
    for second in 0..=6 {
        sight.look(first + TimeDelta::seconds(second));
    }
    sight
}

#[tokio::test]
async fn tsk_06_a_lease_that_ran_out_during_an_outage_is_left_to_its_worker_first() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let live = bench.begin(&worker, ONCE).await;
    let dead = bench.begin(&worker, ONCE).await;
    let rename = async |statement: &'static str| {
        sqlx::query(statement)
            .execute(bench.db.pool())
            .await
            .unwrap();
    };
    let mut seeing = sight(&bench, 6).await;
    assert_eq!(bench.reaper.round(&mut seeing).await.unwrap(), 0);

    rename("alter table leases rename to away").await;
    bench.reaper.round(&mut seeing).await.unwrap_err();
    rename("alter table away rename to leases").await;
    bench.pass(16).await;
    assert_eq!(
        bench.reaper.round(&mut seeing).await.unwrap(),
        0,
        "whoever comes first"
    );
    let standings = bench.store.renew(&worker, &[live]).await.unwrap();
    assert!(standings[0].renewed);

    // The grace has passed.
    let mut seeing = sight(&bench, 6).await;
    assert_eq!(bench.reaper.round(&mut seeing).await.unwrap(), 1);
    is(&bench.task(live.task).await, State::Running);
    is(&bench.task(dead.task).await, State::Interrupted);
}

#[tokio::test]
async fn tsk_06_a_reaper_that_was_stopped_leaves_leases_to_their_workers_first() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, ONCE).await;
    let mut seeing = sight(&bench, 26).await;
    bench.pass(16).await;
    assert_eq!(
        bench.reaper.round(&mut seeing).await.unwrap(),
        0,
        "it looked last 20 s ago"
    );
    is(&bench.task(attempt.task).await, State::Running);
    let standings = bench.store.renew(&worker, &[attempt]).await.unwrap();
    assert!(standings[0].renewed);
}

#[tokio::test]
async fn an_attempt_runs_no_longer_than_its_type_allows() {
    let bench = Bench::with(hasty()).await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.pass(595).await;
    assert_eq!(
        bench.verdict(&worker, attempt).await,
        Verdict::Renewed,
        "until the deadline"
    );
    assert_eq!(bench.reaper.step().await.unwrap(), 0);
    bench.pass(6).await;
    assert_eq!(bench.verdict(&worker, attempt).await, Verdict::Lost);
    assert_eq!(bench.reaper.step().await.unwrap(), 1);
    assert_eq!(
        bench.task(attempt.task).await.error.unwrap().reason(),
        "attempt_timeout"
    );
}

#[tokio::test]
async fn tsk_01_a_result_that_comes_twice_counts_once() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    let finish = async |message: &str, consumer: &'static str| {
        let report = report(consumer, message, attempt, &worker, success());
        bench.store.finish(&[report]).await.unwrap().0
    };
    assert_eq!(finish("m-1", "events").await, [Finished::Applied]);
    assert_eq!(
        finish("m-1", "events").await,
        [Finished::Repeated],
        "the same message"
    );
    assert_eq!(
        finish("m-2", "events").await,
        [Finished::Stale],
        "the worker said it again"
    );
    assert_eq!(
        finish("m-1", "others").await,
        [Finished::Stale],
        "another consumer's message"
    );
    let history = bench.history(attempt.task).await;
    assert_eq!(ends(&history), 1);
    assert_eq!(
        bench
            .tasks
            .get(TENANT, attempt.task)
            .await
            .unwrap()
            .result
            .unwrap()
            .data,
        "{\"text\":\"hello\"}"
    );
    assert_eq!(bench.verdict(&worker, attempt).await, Verdict::Terminal);
    assert_eq!(bench.count("select count(*) from inbox").await, 3);
}

#[tokio::test]
async fn the_database_itself_refuses_a_second_end() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.finish(attempt, &worker, success()).await;
    let second = sqlx::query(
        "insert into task_events (task_id, sequence, tenant_id, kind, at, attempt, state)
         select task_id, sequence + 1, tenant_id, 'failed', at, attempt, 'failed'
         from task_events order by sequence desc limit 1",
    );
    let error = second.execute(bench.db.pool()).await.unwrap_err();
    assert_eq!(
        error.as_database_error().unwrap().constraint(),
        Some("task_events_end_once")
    );
}
