//! Work that makes the services call each other, at a constant rate.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use system_tests::{Client, platform::Platform};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::interval,
};

/// Requests in a second.
const RATE: u32 = 20;
/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until it is told to end.
pub(super) struct Load {
    stop: watch::Sender<bool>,
    run: JoinHandle<Vec<Option<String>>>,
}

impl Load {
    pub(super) fn begin(platform: &Platform) -> Self {
        let client = platform.admin();
        let doors = &platform.description().replicas["backend"];
        let doors = doors
            .iter()
            .map(|at| client.at(&format!("http://{}", at.http)));
        let (stop, stopped) = watch::channel(false);
        let run = tokio::spawn(run(doors.collect(), stopped));
        Self { stop, run }
    }

    /// Asks nothing more; returns how many requests there were, and what went wrong.
    pub(super) async fn end(self) -> (usize, Vec<String>) {
        self.stop.send_replace(true);
        let ends = self.run.await.expect("the load");
        (ends.len(), ends.into_iter().flatten().collect())
    }
}

async fn run(doors: Vec<Client>, mut stopped: watch::Receiver<bool>) -> Vec<Option<String>> {
    let mut ticks = interval(Duration::from_secs(1) / RATE);
    let mut open = JoinSet::new();
    for number in 0.. {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            _ = ticks.tick() => {}
        }
        let door = &doors[number % doors.len()];
        open.spawn(fails(request(door, number / doors.len())));
    }
    open.join_all().await
}

/// Makes one of three: a chat, a task for an agent, a look at the agents.
fn request(door: &Client, number: usize) -> RequestBuilder {
    let post = |path, body| door.request(Method::POST, path).json(&body);
    match number % 4 {
        0 | 2 => post("/api/v1/chat", json!({"message": "hello"})),
        1 => post(
            "/api/v1/tasks",
            json!({"type": "llm.generate", "input": {"prompt": "hello"}}),
        ),
        _ => door.request(Method::GET, "/api/v1/agents"),
    }
}

/// Says what went wrong with a request; nothing when it was answered well.
async fn fails(request: RequestBuilder) -> Option<String> {
    let answer = match request.timeout(PATIENCE).send().await {
        Ok(answer) => answer,
        Err(error) => return Some(error.to_string()),
    };
    let (status, text) = (answer.status(), answer.text().await);
    (!status.is_success() || text.is_err()).then(|| format!("{status} {text:?}"))
}
