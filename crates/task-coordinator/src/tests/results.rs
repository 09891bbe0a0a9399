//! Ends of attempts that arrive together.

use futures::future::join_all;

use super::*;
use crate::desk::Unstored;
use crate::store::Finished;

const TRANSACTIONS: &str = "select count(distinct xmin::text) from inbox";
const FREE: &str = "select free_slots::bigint from credits where task_type = 'llm.generate'";

#[tokio::test]
async fn tsk_01_results_that_arrive_together_share_a_transaction() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 60).await;
    let mut attempts = Vec::new();
    for _ in 0..60 {
        attempts.push(bench.begin(&worker, TYPE).await);
    }
    assert_eq!(bench.count(FREE).await, 0);
    let finish = |attempt: &AttemptRef| bench.finish(*attempt, &worker, success());
    join_all(attempts.iter().map(finish)).await;
    let transactions = bench.count(TRANSACTIONS).await;
    assert!(transactions <= 6, "{transactions} transactions");
    assert_eq!(bench.count(FREE).await, 60, "each slot is free again");
    for attempt in attempts {
        is(&bench.task(attempt.task).await, State::Succeeded);
        assert_eq!(ends(&bench.history(attempt.task).await), 1);
    }
}

#[tokio::test]
async fn tsk_01_a_result_that_the_database_refuses_fails_alone() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 20).await;
    let mut attempts = Vec::new();
    for _ in 0..20 {
        attempts.push(bench.begin(&worker, TYPE).await);
    }
    let reports = attempts.iter().enumerate().map(|(number, attempt)| {
        // No text of the database holds this.
        let end = if number == 7 { "\0" } else { "" };
        let message = format!("m-{number}{end}");
        report("test", &message, *attempt, &worker, success())
    });
    let ends = join_all(reports.map(|report| bench.results.finish(report))).await;
    for (number, (end, attempt)) in ends.into_iter().zip(&attempts).enumerate() {
        let task = bench.task(attempt.task).await;
        if number == 7 {
            assert!(matches!(end, Err(Unstored::Database(_))), "{end:?}");
            is(&task, State::Running);
        } else {
            end.unwrap();
            is(&task, State::Succeeded);
        }
    }
    assert_eq!(bench.count("select count(*) from inbox").await, 19);
    assert_eq!(bench.count("select count(*) from leases").await, 1);
}

#[tokio::test]
async fn tsk_06_in_one_batch_a_task_ends_once_and_a_message_counts_once() {
    let bench = Bench::with(hasty()).await;
    let worker = bench.worker("w", 5).await;
    let (twice, failing) = (
        bench.begin(&worker, TYPE).await,
        bench.begin(&worker, TYPE).await,
    );
    let other = Worker::parse("other").unwrap();
    let next = AttemptRef {
        attempt: 2,
        ..failing
    };
    let batch = [
        report("test", "m-1", twice, &other, success()),
        report("test", "m-2", twice, &worker, success()),
        report("test", "m-2", twice, &worker, success()),
        report("test", "m-3", twice, &worker, failed(false)),
        report("test", "m-4", failing, &worker, failed(true)),
        report("test", "m-5", next, &worker, success()),
        report("others", "m-2", failing, &worker, success()),
    ];
    let (ends, changes) = bench.store.finish(&batch).await.unwrap();
    let expected = [
        Finished::Stale,
        Finished::Applied,
        Finished::Repeated,
        Finished::Stale,
        Finished::Applied,
        Finished::Stale,
        Finished::Stale,
    ];
    assert_eq!(ends, expected);
    assert_eq!(changes.len(), 2);
    assert_eq!(bench.count(FREE).await, 5, "one slot for each end");
    is(&bench.task(twice.task).await, State::Succeeded);
    is(&bench.task(failing.task).await, State::Queued);
    assert_eq!(
        bench.kinds(failing.task).await,
        ["created", "released", "started", "attempt_failed"]
    );
    let (again, _) = bench.store.finish(&batch).await.unwrap();
    assert_eq!(again, [Finished::Repeated; 7]);
}

#[tokio::test]
async fn a_database_that_is_gone_leaves_every_result_for_later() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempts = [
        bench.begin(&worker, TYPE).await,
        bench.begin(&worker, TYPE).await,
    ];
    bench.db.pool().close().await;
    let reports = attempts.map(|attempt| {
        let report = report("test", "m-1", attempt, &worker, success());
        bench.results.finish(report)
    });
    for end in join_all(reports).await {
        assert!(matches!(end, Err(Unstored::Database(_))), "{end:?}");
    }
}
