//! Submissions at a constant rate, with a record of what each was told.

use std::{path::PathBuf, time::Duration};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sutazai_cli::site::Description;
use sutazai_resilience::Backoff;
use system_tests::{
    Client,
    oracle::{Sent, Told},
    platform::Platform,
};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{Instant, interval},
};

use crate::site::ANSWER;

/// Longest time for one try; what takes longer has an unknown end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often one key is sent before its sender gives up.
const TRIES: u32 = 60;
/// Pauses between two tries: who waits makes nothing worse.
const PAUSE: Backoff = Backoff {
    min: Duration::from_millis(500),
    max: Duration::from_secs(5),
};
/// Attempts of a good task. Many processes die, and none of that is the task's fault.
const ATTEMPTS: u32 = 20;
/// Attempts of one that nobody can do: few, so that its pauses are short beside the bar.
pub(crate) const POISON_ATTEMPTS: u32 = 3;
/// How often the doors are looked up: one moves with its process.
const LOOK: Duration = Duration::from_secs(1);

/// A load that goes on until it is told to end.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    run: JoinHandle<(Vec<Sent>, f64)>,
}

impl Load {
    /// Begins to submit `rate` tasks a second, whatever the answers are (an open loop).
    pub(crate) fn begin(platform: &Platform, rate: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let doors = Doors::of(platform);
        let run = tokio::spawn(run(doors, rate, stopped));
        Self { stop, run }
    }

    /// Sends nothing more, waits for the open answers, and returns the record and how many were sent
    /// in a second.
    pub(crate) async fn end(self) -> (Vec<Sent>, f64) {
        self.stop.send_replace(true);
        self.run.await.expect("the load")
    }
}

async fn run(mut doors: Doors, rate: u32, mut stopped: watch::Receiver<bool>) -> (Vec<Sent>, f64) {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_secs(1) / rate);
    let mut open = JoinSet::new();
    let mut number = 0_u32;
    loop {
        tokio::select! {
            // What is due is sent before the end: the rate is what was promised.
            biased;
            _ = ticks.tick() => {
                open.spawn(submit(doors.seen(), number as usize));
                number += 1;
            }
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
        doors.look();
    }
    let reached = f64::from(number) / begun.elapsed().as_secs_f64();
    // The open ones still need to hear where the doors are.
    let looking = async {
        loop {
            tokio::time::sleep(LOOK).await;
            doors.look();
        }
    };
    let sent = tokio::select! {
        sent = open.join_all() => sent,
        () = looking => Vec::new(),
    };
    (sent, reached)
}

/// Sends one key until there is an answer that stands, as a careful client does.
async fn submit(doors: watch::Receiver<Vec<Client>>, number: usize) -> Sent {
    let kind = Kind::of(number);
    let key = format!("key-{number}");
    let mut told = Told::Refused;
    for attempt in 1..=TRIES {
        let door = {
            let doors = doors.borrow();
            doors[(number + attempt as usize) % doors.len()].clone()
        };
        match ask(&door, kind, &key).await {
            Ok(id) => {
                told = Told::Accepted(id);
                break;
            }
            // Once one try may have been stored, a later refusal says nothing about it.
            Err(Failed::Unknown) => told = Told::Unknown,
            Err(Failed::Refused) => {}
        }
        let pause = PAUSE.delay(attempt, &mut rand::rng());
        tokio::time::sleep(pause).await;
    }
    Sent {
        key,
        told,
        poison: kind == Kind::Poison,
    }
}

/// What is submitted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A model's answer; may be asked for again.
    Generate,
    /// An effect of the loop's own worker; may happen again.
    Again,
    /// Another one, which may happen once only.
    Once,
    /// What nobody can do.
    Poison,
}

impl Kind {
    /// Of fifty, eight are for the loop's own worker and one is poison.
    fn of(number: usize) -> Self {
        match number % 50 {
            7 => Self::Poison,
            tens if tens % 10 == 3 => Self::Once,
            15 | 25 | 35 => Self::Again,
            _ => Self::Generate,
        }
    }

    fn submission(self, key: &str) -> Value {
        let own = |kind: &str, attempts| {
            let input = json!({"key": key, "answer": ANSWER.concat()});
            json!({"type": kind, "input": input, "max_attempts": attempts})
        };
        match self {
            Self::Generate => json!({
                "type": "llm.generate",
                "input": {"prompt": key},
                "max_attempts": ATTEMPTS,
            }),
            Self::Again => own("test.again", ATTEMPTS),
            Self::Once => own("test.once", ATTEMPTS),
            Self::Poison => own("test.poison", POISON_ATTEMPTS),
        }
    }
}

enum Failed {
    /// It was not taken over: nobody listened.
    Refused,
    /// It may have been taken over.
    Unknown,
}

async fn ask(door: &Client, kind: Kind, key: &str) -> Result<String, Failed> {
    let request = door
        .request(Method::POST, "/api/v1/tasks")
        .header("Idempotency-Key", key)
        .json(&kind.submission(key))
        .timeout(PATIENCE);
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_connect() => return Err(Failed::Refused),
        Err(_) => return Err(Failed::Unknown),
    };
    if answer.status() != StatusCode::ACCEPTED {
        return Err(Failed::Unknown);
    }
    let body: Value = answer.json().await.map_err(|_| Failed::Unknown)?;
    let id = body["id"].as_str().ok_or(Failed::Unknown)?;
    Ok(id.to_owned())
}

/// The doors of the public API, one client for each instance.
struct Doors {
    data: PathBuf,
    client: Client,
    looked: Instant,
    known: watch::Sender<Vec<Client>>,
}

impl Doors {
    fn of(platform: &Platform) -> Self {
        let client = platform.admin();
        let mut doors = Self {
            data: platform.data().to_owned(),
            known: watch::Sender::new(vec![client.clone()]),
            client,
            looked: Instant::now(),
        };
        doors.find();
        doors
    }

    fn seen(&self) -> watch::Receiver<Vec<Client>> {
        self.known.subscribe()
    }

    fn look(&mut self) {
        if self.looked.elapsed() > LOOK {
            self.find();
        }
    }

    fn find(&mut self) {
        self.looked = Instant::now();
        let description = Description::read(&self.data).expect("the description");
        let found = description.replicas.get("backend").into_iter().flatten();
        let found = found.map(|at| self.client.at(&format!("http://{}", at.http)));
        let found: Vec<Client> = found.collect();
        // While Consul is away, the doors are where they were.
        if !found.is_empty() {
            self.known.send_replace(found);
        }
    }
}
