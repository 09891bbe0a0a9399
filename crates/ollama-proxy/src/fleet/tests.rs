//! The fleet over fake nodes, with every limit at a fiftieth of its default.

mod answers;
mod breaker;
mod lists;
mod registered;
mod sharing;

use std::{sync::Arc, time::Duration};

use sutazai_mesh::http::NodeClient;
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_testkit::ollama::{FakeNode, Script};
use tokio::time::Instant;

use super::Fleet;
use crate::{
    chat::{self, Ending, Event, Order, Tokens},
    config::{FleetConfig, Limits},
    error::Error,
    ollama::Client,
};

pub(crate) const MODEL: &str = "tinyllama:latest";

/// What a default is divided by.
const SCALE: u32 = 50;

/// Longest time that a test waits for something to happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A time of production, as long as it is in these tests.
pub(crate) fn scaled(seconds: u64) -> Duration {
    Duration::from_secs(seconds) / SCALE
}

pub(crate) fn script() -> Script {
    Script::new([MODEL])
}

/// A fleet in the making.
pub(crate) struct Setup {
    pub(crate) config: FleetConfig,
    pub(crate) breakers: Breakers,
}

impl Setup {
    pub(crate) fn of(nodes: &[&FakeNode]) -> Self {
        let default = Limits::default();
        let config = FleetConfig {
            nodes: nodes
                .iter()
                .map(|node| node.url().parse().unwrap())
                .collect(),
            slots: 4,
            queue_limit: 64,
            queue_wait: scaled(30),
            limits: Limits {
                connect: default.connect,
                first_token: default.first_token / SCALE,
                silence: default.silence / SCALE,
                total: default.total / SCALE,
            },
            check_every: Duration::from_secs(5),
            check_limit: Duration::from_secs(2),
            default_model: None,
        };
        Self {
            config,
            breakers: Breakers::new(),
        }
    }

    pub(crate) async fn build(self) -> Arc<Fleet> {
        let client = NodeClient::new(self.config.limits.connect);
        let fleet = Arc::new(Fleet::new(self.config, Client::new(client), &self.breakers));
        fleet.refresh(Duration::ZERO).await;
        fleet
    }
}

pub(crate) async fn fleet(nodes: &[&FakeNode]) -> Arc<Fleet> {
    Setup::of(nodes).build().await
}

fn order(model: &str) -> Order {
    let mut order = Order::one_token();
    model.clone_into(&mut order.model);
    order
}

async fn open(fleet: &Fleet, model: &str) -> Result<Tokens, Error> {
    chat::open(fleet, &order(model), Some(Deadline::after(SOON))).await
}

/// A whole answer: its text, and how it ended.
async fn listen(tokens: &mut Tokens) -> (String, Result<Option<Ending>, Error>) {
    let (mut text, mut end) = (String::new(), None);
    loop {
        match tokens.next().await {
            Ok(Some(Event::Delta(piece))) => text.push_str(&piece),
            Ok(Some(Event::Thought)) => {}
            Ok(Some(Event::Finished(ending))) => end = Some(ending),
            Ok(None) => return (text, Ok(end)),
            Err(error) => return (text, Err(error)),
        }
    }
}

async fn ask(fleet: &Fleet, model: &str) -> Result<String, Error> {
    let mut tokens = open(fleet, model).await?;
    match listen(&mut tokens).await {
        (text, Ok(Some(_))) => Ok(text),
        (text, Ok(None)) => panic!("`{text}` ended without an end"),
        (_, Err(error)) => Err(error),
    }
}

fn reason<T>(result: Result<T, Error>) -> (ErrorCode, String) {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => (error.code(), error.reason().to_owned()),
    }
}

/// Waits until every slot came back and nobody waits.
pub(crate) async fn idle(fleet: &Fleet) {
    let deadline = Instant::now() + SOON;
    while fleet.queued() > 0 || fleet.nodes().iter().any(|node| node.in_flight > 0) {
        assert!(
            Instant::now() < deadline,
            "slots leaked: {:?}",
            fleet.nodes()
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
