//! Submissions that arrive together.

use futures::future::join_all;
use sutazai_proto::Coded;

use super::*;
use crate::error::Error;

/// Batches are told apart by what wrote their rows.
const TRANSACTIONS: &str = "select count(distinct xmin::text) from tasks";
/// Rows of each table whose task is there too.
const WHOLE: &str = "select count(*) from tasks t join task_events e on e.task_id = t.id
     join outbox o on o.task_id = t.id where t.xmin = e.xmin and e.xmin = o.xmin";

fn numbered(number: usize) -> Submission {
    let subject = format!("alice-{number}");
    Submission {
        input: Payload {
            data: number.to_string().into(),
            content_type: format!("text/n{number}"),
        },
        priority: u8::try_from(number % 10).unwrap(),
        submitter: Submitter {
            tenant: format!("tenant-{}", number % 3),
            subject: subject.clone(),
            roles: (0..number % 3).map(|n| format!("role {n}, {{}}")).collect(),
            scopes: (0..number % 2).map(|n| format!("scope:\"{n}\"")).collect(),
        },
        trace: BTreeMap::from([("traceparent".to_owned(), format!("00-{number}-bb-01"))]),
        ..submission()
    }
}

/// Holds up every new task until the transaction ends.
async fn barred(bench: &Bench) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut bar = bench.db.pool().begin().await.unwrap();
    sqlx::query("lock table tasks in exclusive mode")
        .execute(&mut *bar)
        .await
        .unwrap();
    bar
}

/// Waits until as many statements wait for the bar.
async fn at_the_bar(bench: &Bench, statements: usize) {
    let waiting = "select count(*) from pg_locks l join pg_database d on d.oid = l.database
         where not l.granted and d.datname = current_database()";
    let there = async {
        while bench.count(waiting).await < i64::try_from(statements).unwrap() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let there = tokio::time::timeout(SOON, there).await;
    assert!(there.is_ok(), "they do not come");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_01_submissions_that_arrive_together_share_a_transaction_and_nothing_else() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let bar = barred(&bench).await;
    let wanted: Vec<Submission> = (0..100).map(numbered).collect();
    let submit = join_all(wanted.iter().cloned().map(|one| bench.tasks.submit(one)));
    let (answers, ()) = tokio::join!(submit, async {
        at_the_bar(&bench, 1).await;
        bar.rollback().await.unwrap();
    });
    assert_eq!(bench.count(WHOLE).await, 100);
    let transactions = bench.count(TRANSACTIONS).await;
    assert!(transactions <= 6, "{transactions} transactions");
    for (wanted, answer) in wanted.into_iter().zip(answers) {
        let (view, replayed) = answer.unwrap();
        assert!(!replayed);
        let Submitter {
            tenant,
            subject,
            roles,
            scopes,
        } = wanted.submitter;
        let stored = bench.tasks.get(&tenant, wanted.id).await.unwrap();
        assert_eq!(stored, view, "the answer is what was stored");
        assert_eq!(stored.input, wanted.input);
        let spec = &*stored.task.spec;
        assert_eq!(
            (&spec.subject, &spec.roles, &spec.scopes),
            (&subject, &roles, &scopes)
        );
        assert_eq!(
            (spec.priority, &spec.trace),
            (wanted.priority, &wanted.trace)
        );
        let history = bench.store.events(&tenant, wanted.id, 0).await.unwrap();
        let folded = Task::fold(wanted.id, &history).unwrap().unwrap();
        assert_eq!(folded, stored.task);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_01_a_submission_that_the_database_refuses_fails_alone() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let bar = barred(&bench).await;
    let wanted = (0..40).map(|number| {
        let mut wanted = numbered(number);
        match number {
            // No text of the database holds this.
            23 => wanted.submitter.subject = "\0".to_owned(),
            31 => wanted.task_type = "llm.genrate".to_owned(),
            _ => {}
        }
        bench.tasks.submit(wanted)
    });
    let (answers, ()) = tokio::join!(join_all(wanted), async {
        at_the_bar(&bench, 1).await;
        bar.rollback().await.unwrap();
    });
    for (number, answer) in answers.into_iter().enumerate() {
        match number {
            23 => assert!(matches!(answer, Err(Error::Database(_))), "{answer:?}"),
            31 => assert_eq!(answer.unwrap_err().reason(), "unknown_task_type"),
            _ => assert!(answer.is_ok(), "{number}: {answer:?}"),
        }
    }
    assert_eq!(bench.count(WHOLE).await, 38);
    assert_eq!(bench.count("select count(*) from tasks").await, 38);
}

#[tokio::test]
async fn r1_a_caller_who_goes_away_in_time_leaves_no_task_and_takes_nobody_along() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let bar = barred(&bench).await;
    let submit = |number| {
        let tasks = bench.tasks.clone();
        tokio::spawn(async move { tasks.submit(numbered(number)).await })
    };
    let mut stay = Vec::new();
    for number in 0..2 {
        stay.push(submit(number));
        at_the_bar(&bench, number + 1).await;
    }
    let gone: Vec<_> = (2..22).map(submit).collect();
    stay.extend((22..42).map(submit));
    // Those that go were there: one thread runs them all, in their order.
    tokio::task::yield_now().await;
    for caller in gone {
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
    }
    bar.rollback().await.unwrap();
    for caller in stay {
        caller.await.unwrap().unwrap();
    }
    assert_eq!(bench.count(WHOLE).await, 22);
    assert_eq!(bench.count("select count(*) from tasks").await, 22);
}

#[tokio::test]
async fn a_database_that_is_gone_refuses_every_submission() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    bench.db.pool().close().await;
    let answers = join_all((0..5).map(|_| bench.tasks.submit(submission()))).await;
    for answer in answers {
        let error = answer.unwrap_err();
        assert_eq!(error.reason(), "database_unavailable");
        assert!(error.details().retry_after.is_some());
    }
}
