//! R9: clients leave at random moments, and the model's work for them ends at once.
//!
//! They use all doors, each with a stream and without. Some wait for a slot when they leave, some for
//! the first token, some read. Who leaves is told apart by its own question, which the node saw.

use std::{collections::BTreeMap, time::Duration};

use rand::{Rng, SeedableRng, rngs::StdRng};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sutazai_testkit::ollama::{FakeNode, Fault, Script};
use system_tests::{Client, Opened, Setup, Stage, eventually, platform::alone};
use tokio::time::Instant;

use crate::{
    bar::{Bar, Goal, p99},
    size::{Size, seed},
};

const MODEL: &str = "tinyllama:latest";
/// Requests that run on the node at once, and clients: the others wait for one of those.
const SLOTS: usize = 16;
const CLIENTS: u32 = 24;
/// What an answer takes, at the least: a request that goes on without its client is seen to.
const TOKENS: u32 = 200;
const BETWEEN_TOKENS: Duration = Duration::from_millis(10);
const FIRST_TOKEN: Duration = Duration::from_millis(50);
/// Clients leave within this time, most of them in the middle.
const STAYS: std::ops::Range<u64> = 0..800;
/// Longest time from the end of the client's connection to the end of the node's request.
const CLOSED_WITHIN: Duration = Duration::from_millis(250);
/// The same for a machine with other work.
const CLOSED_AT_LAST: Duration = Duration::from_secs(20);

/// When clients left, by their question.
type Departures = BTreeMap<String, Instant>;

pub(crate) async fn run(size: &Size) {
    let _alone = alone().await;
    let stage = stage().await;
    let departures = leave(&stage, size.disconnects).await;
    stage.idle().await;
    let closed = Closed::of(&departures, &stage.nodes[0]);

    let mut bar = Bar::new("R9", size);
    let (left, seen) = (departures.len(), closed.times.len());
    bar.holds(
        "clients that left",
        left,
        Goal::AtLeast(size.disconnects.into()),
    );
    // The others left before their request had come so far.
    bar.holds(
        "streams of the node that they left behind",
        seen,
        Goal::AtLeast(f64::from(size.disconnects / 8)),
    );
    bar.holds(
        "streams that went on to their end",
        closed.went_on,
        Goal::Is(0.0),
    );
    let times = || closed.times.iter().copied();
    bar.measured(
        "the node's stream closed, p99",
        p99(times()),
        at_most(CLOSED_WITHIN),
    );
    let last = times().max().expect("a stream");
    bar.holds(
        "the node's stream closed, the last",
        last,
        at_most(CLOSED_AT_LAST),
    );
    bar.holds(
        "permits leaked",
        SLOTS - free_slots(&stage).await,
        Goal::Is(0.0),
    );
    stage.stop().await;
    bar.close();
}

fn at_most(limit: Duration) -> Goal {
    Goal::AtMost(limit.as_secs_f64())
}

async fn stage() -> Stage {
    let script = Script::new([MODEL])
        .tokens((0..TOKENS).map(|number| format!("{number} ")))
        .first_token_after(FIRST_TOKEN)
        .between_tokens(BETWEEN_TOKENS);
    let unlimited = "1000000";
    Setup::default()
        .node(script)
        .setting("OLLAMA_SLOTS", &SLOTS.to_string())
        .setting("RATE_LIMIT_CHAT_PER_MINUTE", unlimited)
        .start()
        .await
}

/// Lets clients ask and leave, until as many have left.
async fn leave(stage: &Stage, disconnects: u32) -> Departures {
    let (seed, door, models) = (seed(), stage.admin(), stage.models());
    let models = models.with_credential(door.credential());
    let clients = (0..CLIENTS).map(async |number| {
        let mut random = StdRng::seed_from_u64(seed + u64::from(number));
        let mut departures = Departures::new();
        for turn in 0..disconnects.div_ceil(CLIENTS) {
            let question = format!("client {number}, question {turn}");
            let request = ask(&door, &models, turn + number, &question);
            let stays = Duration::from_millis(random.random_range(STAYS));
            let whole = read(&door, request);
            let ended = tokio::time::timeout(stays, whole).await;
            let left = Instant::now();
            assert!(
                ended.is_err(),
                "{question} was answered within {stays:?}: {ended:?}"
            );
            departures.insert(question, left);
        }
        departures
    });
    let departures = futures::future::join_all(clients).await;
    departures.into_iter().flatten().collect()
}

/// Makes a request at one of the doors, with a stream or without.
fn ask(door: &Client, models: &Client, turn: u32, question: &str) -> RequestBuilder {
    let stream = turn.is_multiple_of(2);
    let messages = json!([{"role": "user", "content": question}]);
    let (client, path, body) = match turn / 2 % 3 {
        0 => (
            door,
            "/api/v1/chat",
            json!({"message": question, "stream": stream}),
        ),
        1 => (models, "/api/chat", spoken(&messages, stream)),
        _ => (models, "/v1/chat/completions", spoken(&messages, stream)),
    };
    client.request(Method::POST, path).json(&body)
}

fn spoken(messages: &Value, stream: bool) -> Value {
    json!({"model": MODEL, "messages": messages, "stream": stream})
}

/// Reads an answer to its end; says what came.
async fn read(door: &Client, request: RequestBuilder) -> String {
    match door.open(request).await.expect("an answer") {
        Opened::Events(mut events) => format!("{:?}", events.rest().await),
        Opened::Whole(answer) => answer.text,
    }
}

/// What became of the node's work for those who left.
struct Closed {
    /// From a client's departure to the end of its stream.
    times: Vec<Duration>,
    /// Streams that were said to their end though nobody listened.
    went_on: usize,
}

impl Closed {
    fn of(departures: &Departures, node: &FakeNode) -> Self {
        let ends = node.ends();
        let went_on = ends.iter().filter(|end| !end.is_aborted).count();
        let aborted = ends.iter().filter(|end| end.is_aborted);
        let times = aborted.map(|end| {
            let messages = end.asked["messages"].as_array().expect("messages");
            let last = messages.last().and_then(|last| last["content"].as_str());
            let left = departures[last.expect("a question")];
            end.at.saturating_duration_since(left)
        });
        Self {
            times: times.collect(),
            went_on,
        }
    }
}

/// Counts how many requests can run at once, on a node that answers none of them.
async fn free_slots(stage: &Stage) -> usize {
    let node = &stage.nodes[0];
    node.update(|script| script.fault = Some(Fault::Hang));
    let client = stage.admin();
    let waiting = (0..SLOTS).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.chat("hello").await })
    });
    let waiting: Vec<_> = waiting.collect();
    eventually("every request at the node or in its queue", async || {
        let queued = stage.fleet().await.queued as usize;
        (node.in_flight() + queued == SLOTS).then_some(())
    })
    .await;
    let free = node.in_flight();
    for one in waiting {
        one.abort();
    }
    stage.idle().await;
    free
}
