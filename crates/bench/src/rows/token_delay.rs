//! LLM-10: how long a token is under way from the node through the model fleet's door and the backend to the
//! client, while a thousand streams are open.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;

use crate::{
    failure::Failure,
    load::{self, Wire, delays},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::Stage,
};

const PATH: &str = "/api/v1/chat";
const STREAMS: usize = 1_000;
/// Tokens of a stream, and milliseconds between two: a thousand people read a thousand tokens a second.
const TOKENS: usize = 12;
const PAUSE: u64 = 1_000;
/// Time within which they come; then all are there for five seconds.
const SPREAD: Duration = Duration::from_secs(6);

/// Tokens through all hops.
#[derive(Debug, Default)]
pub(super) struct TokenDelay {
    ours: Option<(SocketAddr, Wire)>,
}

#[async_trait]
impl Row for TokenDelay {
    fn id(&self) -> &'static str {
        "LLM-10"
    }

    fn what(&self) -> &'static str {
        "a token through all hops, node to client: 1,000 streams, a token a second in each"
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Ours]
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new("p50", "under way, p50", "us"),
            Figure::new("p99", "under way, p99", "us").alone(Goal::AtMost(5_000.0)),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let to = platform.http_of(ServiceName::Backend)?;
        let request = load::request(to, PATH, Some(&platform.api_key()?), Some(&body()));
        self.ours = Some((to, request));
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, _: Side) -> Result<Values, Failure> {
        let ours = self.ours.as_ref();
        let (to, request) = ours.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let mut delays = delays(*to, request.clone(), STREAMS, TOKENS, SPREAD).await?;
        let mut values = Values::new();
        for (key, share) in [("p50", 0.5), ("p99", 0.99)] {
            values.extend(quantile(&mut delays, share).map(|found| (key, found)));
        }
        Ok(values)
    }
}

/// A question whose answer comes out of no cache.
fn body() -> String {
    format!(
        r#"{{"message":"Say it.","stream":true,"cache":false,"options":{{"max_tokens":{TOKENS},"seed":{PAUSE}}}}}"#
    )
}
