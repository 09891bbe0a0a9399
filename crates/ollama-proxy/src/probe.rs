//! What health checks and the doctor see of the fleet.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use sutazai_mesh::http::NodeClient;
use sutazai_proto::status::chain;
use sutazai_resilience::{Breakers, Deadline};
use sutazai_runtime::probe::{Evidence, Failure, Probe};
use tokio::time::Instant;

use crate::{
    chat::{self, Event, Order},
    config::FleetConfig,
    error::Error,
    fleet::Fleet,
    ollama::Client,
};

/// Longest time for one token: the model may have to be loaded first.
const LIMIT: Duration = Duration::from_secs(60);

/// Watches the nodes. The service is of use without one: it says what is wrong.
pub(crate) struct NodeProbe(pub(crate) Arc<Fleet>);

#[async_trait]
impl Probe for NodeProbe {
    fn part(&self) -> &'static str {
        "node"
    }

    fn required(&self) -> bool {
        false
    }

    fn limit(&self) -> Duration {
        LIMIT
    }

    /// Looks at what the health checks of the fleet left; loads no model.
    async fn check(&self) -> Result<Evidence, Failure> {
        let nodes = self.0.nodes();
        let live = nodes.iter().filter(|node| node.live).count();
        let text = format!("{live} of {} nodes live", nodes.len());
        if live > 0 {
            return Ok(Evidence::new(text));
        }
        if nodes.is_empty() {
            return Err(Failure::new(
                "there is no node; set OLLAMA_URLS, or enter one in Consul as the service ollama",
            ));
        }
        let causes: Vec<_> = nodes
            .iter()
            .map(|node| {
                format!(
                    "{}: {}",
                    node.url,
                    node.last_error.as_deref().unwrap_or("not asked yet")
                )
            })
            .collect();
        Err(Failure::new(format!(
            "{text} ({}); start Ollama or set OLLAMA_URLS",
            causes.join("; ")
        )))
    }

    /// Lets the default model say one token, on the way that every chat takes.
    async fn probe(&self) -> Result<Evidence, Failure> {
        let began = Instant::now();
        let answer = one_token(&self.0)
            .await
            .map_err(|error| Failure::new(chain(&error)))?;
        let nodes = self.0.nodes();
        let demo = nodes
            .iter()
            .any(|node| node.demo && node.name == answer.node);
        let text = format!(
            "{} on {}{} said {} token(s) in {:.0} ms",
            answer.model,
            answer.node,
            if demo {
                " (the built-in demo node, no model)"
            } else {
                ""
            },
            answer.tokens,
            began.elapsed().as_secs_f64() * 1000.0,
        );
        let live = nodes.iter().filter(|node| node.live).count();
        let counters = [("nodes_live", live), ("requests_queued", self.0.queued())];
        let counters: BTreeMap<_, _> = counters
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count as u64))
            .collect();
        Ok(Evidence { text, counters })
    }
}

/// Asks every node once, without the service; one that answers is enough.
pub(crate) async fn look(config: FleetConfig) -> Result<String, String> {
    let client = NodeClient::new(config.limits.connect);
    let fleet = Fleet::new(config, Client::new(client), &Breakers::new());
    fleet.refresh(Duration::ZERO).await;
    let seen = NodeProbe(Arc::new(fleet)).check().await;
    seen.map(|evidence| evidence.text)
        .map_err(|failure| failure.cause)
}

struct Answer {
    model: Arc<str>,
    node: String,
    tokens: u32,
}

async fn one_token(fleet: &Fleet) -> Result<Answer, Error> {
    fleet.refresh(Duration::ZERO).await;
    let mut tokens = chat::open(fleet, &Order::one_token(), Some(Deadline::after(LIMIT))).await?;
    let mut said = 0;
    while let Some(event) = tokens.next().await? {
        if let Event::Finished(ending) = event {
            said = ending.completion_tokens;
        }
    }
    Ok(Answer {
        model: tokens.model.clone(),
        node: tokens.node.to_string(),
        tokens: said,
    })
}
