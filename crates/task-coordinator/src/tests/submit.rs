//! Submitting, reading and listing.

use futures::future::join_all;
use sutazai_messaging::{Delivery, message::Properties};
use sutazai_proto::Coded;

use super::*;
use crate::error::Error;
use crate::store::{Page, Place};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r2_fifty_requests_with_one_key_make_one_task() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let answers = join_all((0..50).map(|_| bench.tasks.submit(keyed("once", 1)))).await;
    let mut ids: Vec<TaskId> = Vec::new();
    let mut made = 0;
    for answer in answers {
        match answer {
            Ok((view, replayed)) => {
                made += usize::from(!replayed);
                ids.push(view.task.id);
            }
            Err(error) => assert_eq!(error.reason(), "idempotency_key_in_flight"),
        }
    }
    assert_eq!(made, 1, "exactly one request made it");
    ids.dedup();
    assert_eq!(ids.len(), 1, "every answer names the same task");
    assert_eq!(bench.count("select count(*) from tasks").await, 1);
    assert_eq!(bench.count("select count(*) from outbox").await, 1);
    assert_eq!(bench.count("select count(*) from task_events").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r1_submissions_that_wait_keep_no_worker_waiting() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 1).await;
    let mut lock = bench.db.pool().begin().await.unwrap();
    sqlx::query("lock table tasks in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    // More than there are connections, of both kinds: on its own and together with others.
    let own = (0..40).map(|number| keyed(&number.to_string(), 1));
    let wanted = own.chain((0..40).map(|_| submission()));
    let submissions = join_all(wanted.map(|wanted| bench.tasks.submit(wanted)));
    let work = async {
        while bench.db.pool_stats().waiters == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for _ in 0..10 {
            bench.report(&worker, 1).await;
        }
        lock.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(submissions, work);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[tokio::test]
async fn r2_a_key_belongs_to_one_body_one_subject_and_one_tenant() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let first = bench.submit_as(keyed("k", 1)).await;
    let (again, replayed) = bench.tasks.submit(keyed("k", 1)).await.unwrap();
    assert!(replayed);
    assert_eq!(again, first, "the stored task is replayed");
    let error = bench.tasks.submit(keyed("k", 2)).await.unwrap_err();
    assert!(matches!(error, Error::KeyReused));
    assert_eq!(error.code().policy().http.as_u16(), 422);
    for (tenant, subject) in [("default", "bob"), ("other", "alice")] {
        let submitter = Submitter {
            tenant: tenant.to_owned(),
            subject: subject.to_owned(),
            ..submission().submitter
        };
        let (_, replayed) = bench
            .tasks
            .submit(Submission {
                submitter,
                ..keyed("k", 2)
            })
            .await
            .unwrap();
        assert!(!replayed, "{tenant} {subject}");
    }
}

#[tokio::test]
async fn r2_a_key_whose_request_has_not_ended_is_in_flight() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let mut other = bench.db.pool().begin().await.unwrap();
    sqlx::query(
        "insert into idempotency_keys (tenant_id, subject, operation, key, fingerprint, task_id)
         values ('default', 'alice', 'create_task', 'k', '', gen_random_uuid())",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let error = bench.tasks.submit(keyed("k", 1)).await.unwrap_err();
    assert_eq!(error.reason(), "idempotency_key_in_flight");
    assert_eq!(error.code().policy().http.as_u16(), 409);
    assert!(error.details().retry_after.is_some());
    other.rollback().await.unwrap();
    let (_, replayed) = bench.tasks.submit(keyed("k", 1)).await.unwrap();
    assert!(!replayed, "the other request never happened");
}

#[tokio::test]
async fn an_unknown_type_is_refused_with_names_and_leaves_no_key_behind() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    for unknown in ["llm.genrate", "No Type", "nul\0l"] {
        let wanted = Submission {
            task_type: unknown.to_owned(),
            ..keyed("k", 1)
        };
        let error = bench.tasks.submit(wanted).await.unwrap_err();
        assert_eq!(error.reason(), "unknown_task_type");
        let facts = error.details().metadata;
        assert_eq!(facts["known_names"], format!("{TYPE}, {ONCE}"));
        if unknown == "llm.genrate" {
            assert_eq!(facts["near_names"], TYPE);
        }
    }
    assert_eq!(
        bench.count("select count(*) from idempotency_keys").await,
        0
    );
    bench.submit_as(keyed("k", 1)).await;
}

#[tokio::test]
async fn a_task_comes_back_as_it_was_submitted_and_only_to_its_tenant() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let wanted = Submission {
        priority: 9,
        max_attempts: Some(7),
        expires_in: Some(chrono::TimeDelta::nanoseconds(60_123_456_789)),
        ..submission()
    };
    let made = bench.submit_as(wanted.clone()).await;
    let read = bench.tasks.get(TENANT, wanted.id).await.unwrap();
    assert_eq!(read, made);
    assert_eq!(read.input, wanted.input);
    assert_eq!(
        (read.task.spec.priority, read.task.spec.max_attempts),
        (9, 7)
    );
    assert_eq!(read.task.spec.trace, wanted.trace);
    assert_eq!(bench.kinds(wanted.id).await, ["created"]);

    for foreign in [
        bench.tasks.get("other", wanted.id).await.map(drop),
        bench.tasks.cancel("other", wanted.id).await.map(drop),
        bench.tasks.watch("other", wanted.id, 0).await.map(drop),
    ] {
        assert_eq!(foreign.unwrap_err().reason(), "task_not_found");
    }
    is(&bench.task(wanted.id).await, State::Queued);
    assert!(
        bench
            .store
            .events("other", wanted.id, 0)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn a_list_shows_each_task_once_newest_first_also_while_tasks_arrive() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 100).await;
    for number in 0..25 {
        let task_type = if number % 5 == 0 { ONCE } else { TYPE }.to_owned();
        let view = bench
            .submit_as(Submission {
                task_type,
                ..submission()
            })
            .await;
        if number % 2 == 0 {
            let attempt = bench.claim(&worker, view.task.id).await;
            bench.finish(attempt, &worker, success()).await;
        }
    }
    let submitter = Submitter {
        tenant: "other".to_owned(),
        ..submission().submitter
    };
    bench
        .submit_as(Submission {
            submitter,
            ..submission()
        })
        .await;

    let walk = async |states: Vec<State>, task_type: Option<&str>| {
        let (mut seen, mut after): (Vec<Task>, Option<Place>) = (Vec::new(), None);
        loop {
            let task_type = task_type.map(|name| name.parse().unwrap());
            let page = Page {
                states: states.clone(),
                task_type,
                after,
                limit: 4,
            };
            let (tasks, next) = bench.tasks.list(TENANT, page).await.unwrap();
            seen.extend(tasks);
            after = next;
            if after.is_none() {
                return seen;
            }
        }
    };
    let all = walk(vec![], None).await;
    assert_eq!(all.len(), 25);
    let place = |task: &Task| (task.created_at, task.id);
    assert!(all.windows(2).all(|pair| place(&pair[0]) > place(&pair[1])));
    let done = walk(vec![State::Succeeded], None).await;
    assert_eq!(done.len(), 13);
    assert!(done.iter().all(|task| task.state == State::Succeeded));
    assert_eq!(walk(vec![], Some(ONCE)).await.len(), 5);
    assert_eq!(
        walk(vec![State::Queued, State::Succeeded], Some(ONCE))
            .await
            .len(),
        5
    );
    assert_eq!(walk(vec![State::Queued], Some(ONCE)).await.len(), 2);
    assert_eq!(walk(vec![State::Failed], None).await.len(), 0);

    let page = Page {
        states: vec![],
        task_type: None,
        after: None,
        limit: 10,
    };
    let (first, next) = bench.tasks.list(TENANT, page.clone()).await.unwrap();
    bench.submit().await;
    let (second, _) = bench
        .tasks
        .list(
            TENANT,
            Page {
                after: next,
                ..page
            },
        )
        .await
        .unwrap();
    assert_eq!(
        [first, second].concat(),
        all[..20],
        "what arrives shifts nothing"
    );
}

#[tokio::test]
async fn what_has_outlived_its_life_is_removed_and_nothing_else() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 10).await;
    let old = bench.submit_as(keyed("old", 1)).await.task.id;
    let attempt = bench.claim(&worker, old).await;
    bench.finish(attempt, &worker, success()).await;
    let open = bench.submit().await;
    let ages = crate::store::Ages {
        tasks: Duration::from_secs(3600),
        keys: Duration::from_secs(3600),
    };
    bench.store.remove_outlived(&ages).await.unwrap();
    is(&bench.task(old).await, State::Succeeded);

    bench.pass(3700).await;
    sqlx::query("update tasks set finished_at = finished_at - interval '3700 s', created_at = created_at - interval '3700 s'")
        .execute(bench.db.pool())
        .await
        .unwrap();
    assert!(
        !bench.store.remove_outlived(&ages).await.unwrap(),
        "less than a batch"
    );
    assert_eq!(
        bench.tasks.get(TENANT, old).await.unwrap_err().reason(),
        "task_not_found"
    );
    is(&bench.task(open).await, State::Queued);
    for table in [
        "idempotency_keys",
        "inbox",
        "task_events where task_id not in (select id from tasks)",
    ] {
        let left: i64 =
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {table}")))
                .fetch_one(bench.db.pool())
                .await
                .unwrap();
        assert_eq!(left, 0, "{table}");
    }
    bench.submit_as(keyed("old", 2)).await;
}

#[tokio::test]
async fn a_dead_letter_goes_by_its_own_age_whoever_else_has_its_message_id() {
    let bench = Bench::start().await;
    for body in ["old", "young"] {
        let dead = Delivery {
            id: "m-1".to_owned(),
            queue: topology::INTAKE.to_owned(),
            exchange: topology::TASKS.to_owned(),
            routing_key: String::new(),
            headers: BTreeMap::new(),
            properties: Properties::default(),
            content_type: "text/plain".to_owned(),
            body: body.into(),
            delivery_count: 0,
        };
        bench.letters().keep(&dead, "broken").await.unwrap();
    }
    let age = "update stray_messages set received_at = received_at - interval '3700 s'
               where body = 'old'::bytea";
    let old = sqlx::query(age).execute(bench.db.pool()).await.unwrap();
    assert_eq!(old.rows_affected(), 1);
    let ages = crate::store::Ages {
        tasks: Duration::from_secs(3600),
        keys: Duration::from_secs(3600),
    };
    bench.store.remove_outlived(&ages).await.unwrap();
    let left: Vec<Vec<u8>> = sqlx::query_scalar("select body from stray_messages")
        .fetch_all(bench.db.pool())
        .await
        .unwrap();
    assert_eq!(left, [b"young".to_vec()]);
}
