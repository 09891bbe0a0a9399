//! R3: tasks that nobody can do, among tasks of the same type, queue and worker. Each is parked after
//! its attempts, is not tried in a hurry, and holds no good task up.
//!
//! Messages that nobody can read, and what the broker itself gives up, are in `tests/producers`.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{PgConnection, Row};
use system_tests::Client;
use tokio::{task::JoinSet, time::interval};

use crate::{
    bar::{Bar, Figure, Goal, p99},
    database::connect,
    site::shared,
    size::Size,
    submission::accepted,
    worker::{Effects, Worker},
};

/// Attempts of each task.
const ATTEMPTS: i32 = 5;
/// How long the worker is busy with one, in milliseconds.
const WORK: u64 = 5;
/// Longest time from the last submission to the last end; the pauses of poison add up to 15 s.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Tasks before the first round: everything is connected then.
const WARM: u32 = 20;

const OPEN: &str = "select count(*) from tasks.tasks t \
     join tasks.idempotency_keys k on k.task_id = t.id \
     where k.key like $1 and t.state in ('queued', 'running')";
const ENDS: &str = "select k.key, t.state, d.attempts as parked_after, \
     extract(epoch from t.finished_at - t.created_at)::float8 as seconds from tasks.tasks t \
     join tasks.idempotency_keys k on k.task_id = t.id \
     left join tasks.dead_letters d on d.task_id = t.id where k.key like $1";

pub(crate) async fn run(size: &Size) {
    let platform = shared().await;
    let worker = Worker::start(&platform).await;
    let mut database = connect(&platform).await;
    let client = platform.admin();
    let mut round = async |round: &Round| {
        round.submit(&client, size.good_rate).await;
        round.ends(&mut database).await
    };
    round(&Round {
        name: "warm",
        good: WARM,
        good_to_poison: None,
    })
    .await;
    let mut sizes = Round {
        name: "calm",
        good: size.good,
        good_to_poison: None,
    };
    let calm = round(&sizes).await;
    (sizes.name, sizes.good_to_poison) = ("mixed", Some(size.good_to_poison));
    let mixed = round(&sizes).await;

    let mut bar = Bar::new("R3", size);
    judge_counts(&mut bar, &mixed, &worker.effects(), &sizes);
    let [mixed, calm] = [mixed, calm].map(|ends| p99(ends.good().filter_map(|end| end.took)));
    let what = format!("good tasks' p99, {mixed:.1?}, to {calm:.1?} without poison");
    let ratio = mixed.as_secs_f64() / calm.as_secs_f64();
    bar.measured(&what, Figure(ratio, "×"), Goal::AtMost(2.0));
    drop(worker);
    bar.close();
}

fn judge_counts(bar: &mut Bar, ends: &Ends, effects: &Effects, sizes: &Round) {
    let effects = effects.times();
    let effects_of = |end: &End| effects.get(&end.key).map_or(0, Vec::len);
    let (good, poison) = (sizes.good, sizes.poison());
    let done = ends
        .good()
        .filter(|end| end.state == "succeeded" && effects_of(end) == 1);
    bar.holds("good tasks done once", done.count(), Goal::Is(good.into()));
    let attempts = ATTEMPTS as usize;
    let parked = ends.poison().filter(|end| {
        end.state == "failed" && end.parked_after == Some(ATTEMPTS) && effects_of(end) == attempts
    });
    let what = format!("poison parked after exactly {ATTEMPTS} attempts");
    bar.holds(&what, parked.count(), Goal::Is(poison.into()));
    let parked = ends.0.iter().filter(|end| end.parked_after.is_some());
    bar.holds("dead letters", parked.count(), Goal::Is(poison.into()));
    let of_poison = ends.poison().filter_map(|end| effects.get(&end.key));
    let most = of_poison.map(|times| most_in_a_second(times)).max();
    let most = most.expect("the worker saw poison");
    bar.holds(
        "deliveries of one message in a second, the most",
        most,
        Goal::AtMost(10.0),
    );
}

/// Counts the times, in milliseconds and in order, of the fullest second.
fn most_in_a_second(times: &[u64]) -> usize {
    let from = |first: usize| {
        times[first..]
            .iter()
            .take_while(move |at| **at < times[first] + 1_000)
    };
    (0..times.len())
        .map(|first| from(first).count())
        .max()
        .unwrap_or_default()
}

/// Tasks that are submitted one after the other.
struct Round {
    name: &'static str,
    good: u32,
    good_to_poison: Option<u32>,
}

impl Round {
    fn poison(&self) -> u32 {
        self.good_to_poison.map_or(0, |good| self.good / good)
    }

    /// Submits good tasks at a constant rate, whatever the answers are, with poison in between.
    async fn submit(&self, client: &Client, rate: u32) {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        let mut open = JoinSet::new();
        for number in 0..self.good {
            ticks.tick().await;
            open.spawn(self.one(client, "good", number));
            if self.good_to_poison.is_some_and(|good| number % good == 0) {
                open.spawn(self.one(client, "poison", number));
            }
        }
        open.join_all().await;
    }

    fn one(
        &self,
        client: &Client,
        kind: &str,
        number: u32,
    ) -> impl Future<Output = String> + use<> {
        let key = format!("{}-{kind}-{number}", self.name);
        let input =
            json!({"key": key, "answer": "done", "work_ms": WORK, "poison": kind == "poison"});
        let task = json!({"type": "test.again", "input": input, "max_attempts": ATTEMPTS});
        accepted(client.clone(), key, task)
    }

    /// Waits until all have ended, or the time for that is over, and reads what is stored.
    async fn ends(&self, database: &mut PgConnection) -> Ends {
        let (mine, begun) = (format!("{}-%", self.name), Instant::now());
        while begun.elapsed() < ENDED_WITHIN {
            let open = sqlx::query_scalar(OPEN).bind(&mine);
            let open: i64 = open.fetch_one(&mut *database).await.expect("a count");
            if open == 0 {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        let rows = sqlx::query(ENDS).bind(&mine).fetch_all(database).await;
        let ends = rows.expect("the tasks").into_iter().map(|row| End {
            key: row.get("key"),
            state: row.get("state"),
            parked_after: row.get("parked_after"),
            took: row
                .get::<Option<f64>, _>("seconds")
                .map(Duration::from_secs_f64),
        });
        Ends(ends.collect())
    }
}

/// What is stored of a round.
struct Ends(Vec<End>);

struct End {
    key: String,
    state: String,
    /// Attempts of its dead letter.
    parked_after: Option<i32>,
    took: Option<Duration>,
}

impl Ends {
    fn good(&self) -> impl Iterator<Item = &End> {
        self.0.iter().filter(|end| !end.is_poison())
    }

    fn poison(&self) -> impl Iterator<Item = &End> {
        self.0.iter().filter(|end| end.is_poison())
    }
}

impl End {
    fn is_poison(&self) -> bool {
        self.key.contains("-poison-")
    }
}

#[test]
fn a_planted_hurry_is_counted() {
    assert_eq!(most_in_a_second(&[]), 0);
    assert_eq!(most_in_a_second(&[0, 1_000, 2_000]), 1);
    assert_eq!(most_in_a_second(&[0, 900, 1_100, 1_200, 1_899, 5_000]), 4);
}
