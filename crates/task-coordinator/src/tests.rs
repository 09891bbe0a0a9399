//! The coordinator on a real Postgres and the broker of one process, without its sockets.
//!
//! Time passes where a test says so, by moving what the database has stored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sutazai_messaging::{
    Broker,
    memory::{Limits, MemoryBroker},
    topology,
};
use sutazai_persistence::{Database, migrate, postgres::Settings};
use sutazai_proto::ids::TaskId;
use sutazai_resilience::Breakers;
use uuid::Uuid;

use crate::consumer::Events;
use crate::credit::{AttemptRef, Credit, TaskType, Worker};
use crate::lease::{Claimed, Leases};
use crate::outbox::{Bell, Relay};
use crate::reaper::Reaper;
use crate::results::Results;
use crate::retry::RetryPolicy;
use crate::store::{MIGRATOR, Report, Rules, SCHEMA, Store, View};
use crate::submission::{IdempotencyKey, Operation, Submission, Submitter};
use crate::task::{EffectMode, Failure, Outcome, Payload, Recorded, State, Task};
use crate::tasks::Tasks;
use crate::watch::Watchers;

mod admission;
mod attempt;
mod end;
mod follow;
mod intake;
mod message;
mod release;
mod results;
mod submit;

const TENANT: &str = "default";
const TYPE: &str = "llm.generate";
/// At most once.
const ONCE: &str = "shell.run";
/// Longer than any test waits for what should come at once.
const SOON: Duration = Duration::from_secs(10);

struct Bench {
    db: Database,
    store: Store,
    tasks: Tasks,
    leases: Leases,
    relay: Relay,
    reaper: Reaper,
    results: Results,
    watchers: Watchers,
    broker: MemoryBroker,
}

impl Bench {
    async fn start() -> Self {
        Self::with(Rules::default()).await
    }

    async fn with(rules: Rules) -> Self {
        let url = sutazai_servers::scratch::database().await.unwrap().into();
        migrate::migrate(&url, SCHEMA, &MIGRATOR).await.unwrap();
        let settings = Settings {
            pool_min: 1,
            pool_max: 16,
            ..Settings::new(url, SCHEMA, "test")
        };
        let db = Database::connect(&settings, &Breakers::new())
            .await
            .unwrap();
        migrate::verify(&db, &MIGRATOR).await.unwrap();
        Self::over(db, rules, MemoryBroker::new(Limits::default())).await
    }

    /// The same database with another process in front of it.
    async fn restarted(&self) -> Self {
        let broker = MemoryBroker::new(Limits::default());
        Self::over(self.db.clone(), *self.store.rules(), broker).await
    }

    async fn over(db: Database, rules: Rules, broker: MemoryBroker) -> Self {
        broker.declare(&topology::platform()).await.unwrap();
        let store = Store::new(db.clone(), rules);
        let (watchers, bell) = (Watchers::default(), Bell::default());
        let shared = Arc::new(broker.clone());
        let results = Results::new(store.clone(), watchers.clone(), bell.clone());
        Self {
            tasks: Tasks::new(store.clone(), watchers.clone(), bell.clone()),
            leases: Leases::new(store.clone(), watchers.clone(), bell.clone()),
            relay: Relay::new(store.clone(), shared, watchers.clone(), bell.clone()),
            reaper: Reaper::new(store.clone(), watchers.clone(), bell),
            results,
            db,
            store,
            watchers,
            broker,
        }
    }

    /// A worker reports free slots for both types.
    async fn worker(&self, name: &str, free_slots: u32) -> Worker {
        let worker = Worker::parse(name).unwrap();
        self.report(&worker, free_slots).await;
        worker
    }

    async fn report(&self, worker: &Worker, free_slots: u32) {
        let credits = [
            (TYPE, EffectMode::Idempotent),
            (ONCE, EffectMode::AtMostOnce),
        ]
        .map(|(name, effect_mode)| Credit {
            task_type: TaskType {
                name: name.parse().unwrap(),
                effect_mode,
                max_attempts: 3,
                attempt_timeout: Duration::from_secs(600),
            },
            free_slots,
        });
        self.leases
            .heartbeat(worker, &credits, &[], &[])
            .await
            .unwrap();
    }

    async fn submit(&self) -> TaskId {
        self.submit_as(submission()).await.task.id
    }

    async fn submit_as(&self, submission: Submission) -> View {
        self.tasks.submit(submission).await.unwrap().0
    }

    /// Submits a task and has a worker begin it.
    async fn begin(&self, worker: &Worker, task_type: &str) -> AttemptRef {
        let task = self.submit_as(Submission {
            task_type: task_type.to_owned(),
            ..submission()
        });
        let task = task.await.task.id;
        self.claim(worker, task).await
    }

    async fn claim(&self, worker: &Worker, task: TaskId) -> AttemptRef {
        match self.leases.claim(worker, &[task]).await.unwrap().as_slice() {
            [Claimed::Granted { attempt, .. }] => AttemptRef {
                task,
                attempt: *attempt,
            },
            refused => panic!("claim refused: {refused:?}"),
        }
    }

    async fn finish(&self, attempt: AttemptRef, worker: &Worker, outcome: Outcome) {
        let message = Uuid::now_v7().to_string();
        let report = report("test", &message, attempt, worker, outcome);
        self.results.finish(report).await.unwrap();
    }

    fn events(&self) -> Events {
        Events {
            tasks: self.tasks.clone(),
            results: self.results.clone(),
        }
    }

    async fn task(&self, id: TaskId) -> Task {
        self.tasks.get(TENANT, id).await.unwrap().task
    }

    /// The history of a task. Whatever a test did: it folds to the stored state.
    async fn history(&self, id: TaskId) -> Vec<Recorded> {
        let history = self.store.events(TENANT, id, 0).await.unwrap();
        assert_eq!(
            Task::fold(id, &history).unwrap().unwrap(),
            self.task(id).await
        );
        history
    }

    async fn kinds(&self, id: TaskId) -> Vec<String> {
        let kind = |recorded: &Recorded| {
            let event = serde_json::to_value(&recorded.event).unwrap();
            event["kind"].as_str().unwrap().to_owned()
        };
        self.history(id).await.iter().map(kind).collect()
    }

    /// Lets time pass: everything that waits for a moment comes nearer to it.
    async fn pass(&self, seconds: i32) {
        for statement in [
            "update leases set expires_at = expires_at - make_interval(secs => $1),
                               deadline = deadline - make_interval(secs => $1)",
            "update outbox set due_at = due_at - make_interval(secs => $1)",
            "update credits set reported_at = reported_at - make_interval(secs => $1)",
            "update tasks set not_before = not_before - make_interval(secs => $1)",
            "update inbox set received_at = received_at - make_interval(secs => $1)",
            "update idempotency_keys set created_at = created_at - make_interval(secs => $1)",
        ] {
            sqlx::query(statement)
                .bind(seconds)
                .execute(self.db.pool())
                .await
                .unwrap();
        }
    }

    async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement)
            .fetch_one(self.db.pool())
            .await
            .unwrap()
    }

    async fn waiting(&self, task_type: &str) -> u64 {
        self.broker
            .depth(&format!("work.{task_type}"))
            .await
            .unwrap_or_default()
    }
}

fn submission() -> Submission {
    Submission {
        id: TaskId::new(),
        task_type: TYPE.to_owned(),
        input: Payload {
            data: "{\"n\":1}".into(),
            content_type: "application/json".to_owned(),
        },
        priority: 5,
        max_attempts: None,
        expires_in: None,
        key: None,
        submitter: Submitter {
            tenant: TENANT.to_owned(),
            subject: "alice".to_owned(),
            roles: vec!["user".to_owned()],
            scopes: Vec::new(),
        },
        trace: BTreeMap::from([("traceparent".to_owned(), "00-aa-bb-01".to_owned())]),
        reply_to: None,
    }
}

fn keyed(text: &str, fingerprint: u8) -> Submission {
    let key = IdempotencyKey {
        operation: Operation::CreateTask,
        text: text.to_owned(),
        fingerprint: vec![fingerprint],
    };
    Submission {
        key: Some(key),
        ..submission()
    }
}

fn success() -> Outcome {
    let data = "{\"text\":\"hello\"}".into();
    Outcome::Succeeded(Payload {
        data,
        content_type: "application/json".to_owned(),
    })
}

fn failed(retryable: bool) -> Outcome {
    let error = Failure::new(
        sutazai_proto::ErrorCode::Unavailable,
        "node_failed",
        "it went away",
    );
    Outcome::Failed { error, retryable }
}

fn report(
    consumer: &'static str,
    message: &str,
    ended: AttemptRef,
    worker: &Worker,
    outcome: Outcome,
) -> Report {
    Report {
        consumer,
        message_id: message.to_owned(),
        ended,
        worker: worker.clone(),
        outcome,
    }
}

/// Retries that come at once.
fn hasty() -> Rules {
    Rules {
        retry: RetryPolicy::new(Duration::ZERO, Duration::ZERO),
        ..Rules::default()
    }
}

fn ends(history: &[Recorded]) -> usize {
    history
        .iter()
        .filter(|recorded| recorded.state.is_terminal())
        .count()
}

fn is(task: &Task, state: State) {
    assert_eq!(task.state, state, "{task:?}");
}
