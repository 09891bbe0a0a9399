//! B1: the smallest answer of the API, beside the smallest answer there is.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;

use crate::{
    failure::Failure,
    load::{self, Closed, Length, closed},
    row::{Figure, Goal, Row, Side, Values},
    stage::{Core, Running, Stage, free_address},
};

const PATH: &str = "/health";
const CONNECTIONS: usize = 64;
const TIME: Duration = Duration::from_secs(4);
/// Longest time for a program of ours to take work.
const LIMIT: Duration = Duration::from_secs(20);

/// `GET /health` of the backend beside a raw axum answer.
#[derive(Debug, Default)]
pub(super) struct B1 {
    /// The limit and ours.
    sides: Vec<(Side, SocketAddr, Running)>,
}

#[async_trait]
impl Row for B1 {
    fn id(&self) -> &'static str {
        "B1"
    }

    fn what(&self) -> &'static str {
        "GET /health of the backend, 64 connections"
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new("rps", "answers a second", "1/s").limit(Goal::RatioAtLeast(0.85)),
            Figure::new("p99", "p99", "us").limit(Goal::None),
            Figure::new("cpu", "processor time an answer", "us").limit(Goal::None),
            Figure::new("client", "the client's own time an answer", "us"),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let limit = free_address()?;
        let answer = stage.part("answer", [limit.port().to_string()]);
        let ours = free_address()?;
        let backend = stage.twin(ServiceName::Backend, ours).await?;
        for (side, at, program) in [(Side::Limit, limit, answer), (Side::Ours, ours, backend)] {
            let running = stage.start(&program, Core::Server).await?;
            running.ready(at, PATH, LIMIT).await?;
            self.sides.push((side, at, running));
        }
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let found = self.sides.iter().find(|(found, ..)| *found == side);
        let (_, to, running) = found.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let before = running.cpu()?;
        let found = closed(Closed {
            to: *to,
            request: load::request(*to, PATH, None, None),
            body: None,
            connections: CONNECTIONS,
            length: Length::For(TIME),
        });
        let mut found = found.await?;
        // The quarter before the time that counts is work too.
        let cpu = (running.cpu()? - before) / (found.count() as f64 * 1.25);
        let mut values: Values = [
            ("rps", found.rate()),
            ("cpu", cpu),
            ("client", found.client),
        ]
        .into();
        let p99 = crate::spread::quantile(&mut found.latencies, 0.99);
        values.extend(p99.map(|found| ("p99", found)));
        Ok(values)
    }

    async fn finish(&mut self) {
        for (.., running) in std::mem::take(&mut self.sides) {
            running.stop().await;
        }
    }
}
