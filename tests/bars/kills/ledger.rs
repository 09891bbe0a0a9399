//! What is stored after the run, read from the database and the broker, not through the platform.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sqlx::{PgConnection, Row};
use system_tests::{
    eventually,
    oracle::{Evidence, Sent, Stored, StoredEvent},
    platform::Platform,
};

use crate::{
    database::{connect, count},
    site::ANSWER,
    worker::Effects,
};

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// RabbitMQ counts the messages of a queue anew within this time.
const COUNTED: Duration = Duration::from_secs(6);
/// Longest time from the last end until the broker holds nothing: repetitions come last.
const DRAINED: Duration = Duration::from_secs(40);

const SNAPSHOT: &str = "begin isolation level repeatable read read only";
const OPEN: &str = "select count(*) from tasks.tasks where state in ('queued', 'running')";
const OUTBOX: &str = "select count(*) from tasks.outbox";
const STRAYS: &str = "select count(*) from tasks.stray_messages";
/// Poison that was parked before its last attempt ([`super::load::POISON_ATTEMPTS`]), or after it.
const NOT_AFTER_ALL: &str = "select count(*) from tasks.dead_letters where attempts <> 3";
const DEAD: &str = "select task_id::text from tasks.dead_letters";
/// An effect is a success with the whole answer of the model.
const TASKS: &str = "select t.id::text as id, coalesce(k.key, 'no key') as key, t.state, t.effect_mode, \
     (select count(*) from tasks.task_events e where e.task_id = t.id and e.kind = 'succeeded' \
        and convert_from(e.payload, 'UTF8')::jsonb ->> 'text' = $1) as effects \
     from tasks.tasks t left join tasks.idempotency_keys k on k.task_id = t.id";
const EVENTS: &str = "select task_id::text as id, sequence, kind from tasks.task_events \
     order by task_id, sequence";

/// What is stored once everything has ended, or once the time for that is over.
pub(crate) struct Ledger {
    /// When the last task had ended.
    pub(crate) at: Instant,
    /// Messages that nobody could read; nobody sent any.
    pub(crate) strays: u64,
    /// Dead letters that did not have exactly the attempts of poison.
    pub(crate) not_after_all: u64,
    tasks: Vec<Stored>,
    waiting_messages: u64,
    outbox_rows: u64,
    dead_letters: BTreeSet<String>,
}

impl Ledger {
    /// Waits until everything that is stored has ended, or until `limit`, and the broker is empty;
    /// then reads it all.
    pub(crate) async fn settled(platform: &Platform, effects: &Effects, limit: Instant) -> Self {
        let mut database = connect(platform).await;
        while count(&mut database, OPEN).await > 0 && Instant::now() < limit {
            tokio::time::sleep(PAUSE).await;
        }
        let at = Instant::now();
        tokio::time::sleep(COUNTED).await;
        while waiting(platform).await > 0 && at.elapsed() < DRAINED {
            tokio::time::sleep(PAUSE).await;
        }
        let waiting_messages = waiting(platform).await;
        // All of one moment: what has not ended in time goes on.
        let begun = sqlx::query(SNAPSHOT).execute(&mut database).await;
        begun.expect("a transaction");
        Self {
            at,
            strays: count(&mut database, STRAYS).await,
            not_after_all: count(&mut database, NOT_AFTER_ALL).await,
            waiting_messages,
            outbox_rows: count(&mut database, OUTBOX).await,
            dead_letters: dead_letters(&mut database).await,
            tasks: tasks(&mut database, launches(platform, effects)).await,
        }
    }

    /// Puts it beside what the load was told.
    pub(crate) fn evidence(self, sent: Vec<Sent>) -> Evidence {
        let Self {
            tasks,
            waiting_messages,
            outbox_rows,
            dead_letters,
            ..
        } = self;
        Evidence {
            sent,
            tasks,
            waiting_messages,
            outbox_rows,
            dead_letters,
        }
    }
}

/// Messages in all queues of the broker.
async fn waiting(platform: &Platform) -> u64 {
    let queues = eventually("the broker lists its queues", async || {
        platform.rabbitmq("/api/queues").await.ok()
    })
    .await;
    let messages = queues.iter().filter_map(|queue| queue["messages"].as_u64());
    messages.sum()
}

async fn dead_letters(database: &mut PgConnection) -> BTreeSet<String> {
    let ids = sqlx::query_scalar(DEAD).fetch_all(&mut *database).await;
    ids.expect("the dead letters").into_iter().collect()
}

async fn tasks(database: &mut PgConnection, launches: BTreeMap<String, usize>) -> Vec<Stored> {
    let mut events: BTreeMap<String, Vec<StoredEvent>> = BTreeMap::new();
    let rows = sqlx::query(EVENTS).fetch_all(&mut *database).await;
    for row in rows.expect("the events") {
        events.entry(row.get("id")).or_default().push(StoredEvent {
            sequence: row.get::<i64, _>("sequence").cast_unsigned(),
            kind: row.get("kind"),
        });
    }
    let rows = sqlx::query(TASKS).bind(ANSWER.concat());
    let rows = rows.fetch_all(database).await.expect("the tasks");
    let stored = rows.iter().map(|row| {
        let (id, key): (String, String) = (row.get("id"), row.get("key"));
        Stored {
            state: row.get("state"),
            at_most_once: row.get::<&str, _>("effect_mode") == "at_most_once",
            events: events.remove(&id).unwrap_or_default(),
            launches: launches.get(&key).copied().unwrap_or_default(),
            effects: usize::try_from(row.get::<i64, _>("effects")).expect("a count"),
            id,
            key,
        }
    });
    stored.collect()
}

/// Counts how often the work of each task was begun, where it is done: a model was asked with the key
/// as its prompt, or the loop's own worker had its effect.
fn launches(platform: &Platform, effects: &Effects) -> BTreeMap<String, usize> {
    let mut launches = effects.count();
    let seen = platform
        .nodes
        .iter()
        .flat_map(|node| node.requests_to("/api/chat"));
    for request in seen {
        if let Some(prompt) = request.body["messages"][0]["content"].as_str() {
            *launches.entry(prompt.to_owned()).or_default() += 1;
        }
    }
    launches
}
