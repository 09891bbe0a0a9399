//! Tasks that are submitted all the time, and what became of them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sqlx::{PgConnection, Row};
use system_tests::{Client, platform::Platform};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::interval,
};

use crate::{database::connect, submission::accepted};

/// What is submitted, in turn, with the field of its input; each has a queue and workers of its own.
const TYPES: [(&str, &str); 2] = [("llm.generate", "prompt"), ("automation.plan", "goal")];
/// Submissions in a second.
const RATE: u32 = 4;
/// Longest wait for the first task of each type.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time from the last submission to the last end.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(50);

const STARTED: &str = "select t.type, extract(epoch from min(e.at))::float8 as at \
     from tasks.task_events e join tasks.tasks t on t.id = e.task_id \
     where e.kind = 'started' and e.at > to_timestamp($1) and t.type = any($2) group by t.type";
const OPEN: &str = "select count(*) from tasks.tasks \
     where id::text = any($1) and state in ('queued', 'running')";
const OUTBOX: &str = "select count(*) from tasks.outbox where task_id::text = any($1)";

/// Submits until it is told to end.
pub(super) struct Publishers {
    stop: watch::Sender<bool>,
    run: JoinHandle<Vec<String>>,
}

/// What is left of the tasks after their time.
pub(super) struct Stuck {
    pub(super) open: u64,
    pub(super) outbox: u64,
}

impl Publishers {
    pub(super) fn begin(client: Client) -> Self {
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(run(client, stopped));
        Self { stop, run }
    }

    /// Sends nothing more, and returns the ids of all accepted tasks.
    pub(super) async fn end(self) -> Vec<String> {
        self.stop.send_replace(true);
        self.run.await.expect("every task was accepted")
    }
}

async fn run(client: Client, mut stopped: watch::Receiver<bool>) -> Vec<String> {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    let mut open = JoinSet::new();
    for (number, (kind, field)) in TYPES.iter().cycle().enumerate() {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            _ = ticks.tick() => {}
        }
        let task = json!({"type": kind, "input": {*field: "hello"}});
        open.spawn(accepted(
            client.clone(),
            format!("published-{number}"),
            task,
        ));
    }
    open.join_all().await
}

/// Returns how long after `returned` a task of each type was begun; at the most [`PATIENCE`].
pub(super) async fn consuming(database: &mut PgConnection, returned: SystemTime) -> Duration {
    let returned = returned
        .duration_since(UNIX_EPOCH)
        .expect("a time after 1970");
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let query = sqlx::query(STARTED)
            .bind(returned.as_secs_f64())
            .bind(TYPES.map(|(kind, _)| kind));
        let rows = query.fetch_all(&mut *database).await.expect("the starts");
        if rows.len() == TYPES.len() {
            let last = rows
                .iter()
                .map(|row| row.get::<f64, _>("at"))
                .fold(0.0, f64::max);
            return Duration::from_secs_f64(last).saturating_sub(returned);
        }
        tokio::time::sleep(PAUSE).await;
    }
    PATIENCE
}

/// Waits until all tasks have ended, or the time for that is over, and counts the others.
pub(super) async fn stuck(platform: &Platform, ids: &[String]) -> Stuck {
    let mut database = connect(platform).await;
    let begun = Instant::now();
    loop {
        let stuck = Stuck {
            open: count(&mut database, OPEN, ids).await,
            outbox: count(&mut database, OUTBOX, ids).await,
        };
        if stuck.open + stuck.outbox == 0 || begun.elapsed() > ENDED_WITHIN {
            return stuck;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn count(database: &mut PgConnection, sql: &'static str, ids: &[String]) -> u64 {
    let count = sqlx::query_scalar(sql).bind(ids).fetch_one(database).await;
    let count: i64 = count.expect("a count");
    count.cast_unsigned()
}
