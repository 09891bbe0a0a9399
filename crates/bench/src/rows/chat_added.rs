//! A2: what a chat takes longer through the door than without it.

use async_trait::async_trait;

use super::doors::{self, Doors, same_body, short_chat};
use crate::{
    failure::Failure,
    load::{Closed, Length, closed},
    peer::{litellm, nginx},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::{Stage, cores::Awake},
};

/// Requests of one side of one round.
const REQUESTS: usize = 20_000;
/// As many of those that take 6 ms each.
const SLOW_REQUESTS: usize = 500;

/// Added latency with one request at a time, cores kept awake.
#[derive(Debug, Default)]
pub(super) struct A2 {
    doors: Option<Doors>,
    awake: Option<Awake>,
}

#[async_trait]
impl Row for A2 {
    fn id(&self) -> &'static str {
        "A2"
    }

    fn what(&self) -> &'static str {
        "latency that the model fleet's door adds to a chat, one at a time"
    }

    fn figures(&self) -> Vec<Figure> {
        let p50 = Figure::new("p50", "added p50", "us").added();
        vec![
            p50.limit(Goal::RatioAtMost(1.6)),
            p50.peer(litellm::NAME, Goal::RatioAtMost(0.01)),
            p50.peer(nginx::NAME, Goal::None),
            Figure::new("p99", "added p99", "us")
                .added()
                .limit(Goal::None),
            Figure::new("p50", "p50", "us").limit(Goal::None),
            Figure::new("client", "the client's own time a chat", "us"),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        doors::SIDES.into()
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        self.doors = Some(Doors::open(stage, &doors::PEERS).await?);
        self.awake = Some(Awake::keep(stage).await?);
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let doors = self.doors.as_ref();
        let doors = doors.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let requests = if side == Side::Peer(litellm::NAME) {
            SLOW_REQUESTS
        } else {
            REQUESTS
        };
        let found = closed(Closed {
            to: doors.address(side)?,
            request: doors.chat(side, &short_chat())?,
            body: same_body(side),
            connections: 1,
            length: Length::Requests(requests),
        });
        let mut found = found.await?;
        let of = |(key, share)| Some((key, quantile(&mut found.latencies, share)?));
        let mut values: Values = [("p50", 0.5), ("p99", 0.99)]
            .into_iter()
            .filter_map(of)
            .collect();
        values.insert("client", found.client);
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(awake) = self.awake.take() {
            awake.stop().await;
        }
        if let Some(doors) = self.doors.take() {
            doors.close().await;
        }
    }
}
