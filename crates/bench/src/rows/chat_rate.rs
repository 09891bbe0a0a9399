//! A1: how many chats a second pass, by connections.

use std::time::Duration;

use async_trait::async_trait;

use super::doors::{self, Doors, same_body, short_chat};
use crate::{
    failure::Failure,
    load::{Closed, Length, closed},
    peer::{litellm, nginx},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::{Running, Stage},
};

/// Connections, with the keys of rate and latency.
const STEPS: [(usize, &str, &str); 5] = [
    (1, "rps_1", "p99_1"),
    (16, "rps_16", "p99_16"),
    (64, "rps_64", "p99_64"),
    (256, "rps_256", "p99_256"),
    (1024, "rps_1024", "p99_1024"),
];
const TIME: Duration = Duration::from_secs(2);

/// Capacity of the door.
#[derive(Debug, Default)]
pub(super) struct A1 {
    doors: Option<Doors>,
}

#[async_trait]
impl Row for A1 {
    fn id(&self) -> &'static str {
        "A1"
    }

    fn what(&self) -> &'static str {
        "chats a second through the model fleet's door: 92 bytes in, 270 out, keep-alive"
    }

    fn figures(&self) -> Vec<Figure> {
        let rps = |key, what| Figure::new(key, what, "1/s");
        let main = rps("rps_64", "chats a second, 64 connections");
        vec![
            main.limit(Goal::RatioAtLeast(0.75)),
            main.peer(nginx::NAME, Goal::RatioAtLeast(0.6)),
            main.peer(litellm::NAME, Goal::RatioAtLeast(200.0)),
            rps("rps_1", "chats a second, 1 connection").limit(Goal::None),
            rps("rps_16", "chats a second, 16 connections").limit(Goal::None),
            rps("rps_256", "chats a second, 256 connections").limit(Goal::None),
            rps("rps_1024", "chats a second, 1024 connections").limit(Goal::None),
            Figure::new("p99_16", "p99, 16 connections", "us").limit(Goal::RatioAtMost(1.5)),
            Figure::new("cpu", "processor time a chat, 64 connections", "us")
                .limit(Goal::RatioAtMost(1.6)),
            Figure::new(
                "client",
                "the client's own time a chat, 64 connections",
                "us",
            ),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        doors::SIDES.into()
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        self.doors = Some(Doors::open(stage, &doors::PEERS).await?);
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let doors = self.doors.as_ref();
        let doors = doors.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let mut values = Values::new();
        for (connections, rps, p99) in STEPS {
            // A thousand connections to a program that takes 130 requests a second only wait.
            if side == Side::Peer(litellm::NAME) && connections > 64 {
                continue;
            }
            let busy = || doors.running(side).map(Running::cpu).transpose();
            let before = busy()?;
            let found = closed(Closed {
                to: doors.address(side)?,
                request: doors.chat(side, &short_chat())?,
                body: same_body(side),
                connections,
                length: Length::For(TIME),
            });
            let mut found = found.await?;
            values.insert(rps, found.rate());
            values.extend(quantile(&mut found.latencies, 0.99).map(|found| (p99, found)));
            if connections == 64 {
                values.insert("client", found.client);
                if let (Some(before), Some(after)) = (before, busy()?) {
                    // The quarter before the time that counts is work too.
                    values.insert("cpu", (after - before) / (found.count() as f64 * 1.25));
                }
            }
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(doors) = self.doors.take() {
            doors.close().await;
        }
    }
}
