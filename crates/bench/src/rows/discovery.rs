//! F1: a change in Consul until calls are balanced by it, beside a raw blocking query.
//!
//! Ours is [`Registry::watch_foreign`], the list from which channels and the model fleet choose.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sutazai_mesh::registry::{
    Foreign, Registry, Watch,
    consul::{ConsulRegistry, Settings},
};
use sutazai_resilience::Breakers;
use tokio::{sync::watch, time::timeout};

use crate::{
    failure::Failure,
    limit::consul::Consul,
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::Stage,
};

const SERVICE: &str = "bench";
/// Who may enter any service.
const OPERATOR: &str = "operator";
/// Stays, so that the list is never empty: an empty one is doubted first.
const FIRST: &str = "bench-1";
const SECOND: &str = "bench-2";
const CHANGES: usize = 200;
/// Longest time for a change to be seen.
const LIMIT: Duration = Duration::from_secs(10);

/// Changes in Consul as watchers see them.
#[derive(Default)]
pub(super) struct F1(Option<Prepared>);

struct Prepared {
    consul: Consul,
    limit: watch::Receiver<usize>,
    ours: Watch<Foreign>,
    /// Ends its watches when it is dropped.
    _registry: ConsulRegistry,
}

#[async_trait]
impl Row for F1 {
    fn id(&self) -> &'static str {
        "F1"
    }

    fn what(&self) -> &'static str {
        "a change in Consul until calls are balanced by it"
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            // 1.5 times and 1 ms.
            Figure::new("p50", "change to routed, p50", "ms")
                .limit(Goal::RatioAtMostPlus(1.5, 1.0)),
            Figure::new("p99", "change to routed, p99", "ms").limit(Goal::None),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let (base, token) = (platform.servers()?.consul, platform.consul_token(OPERATOR)?);
        let consul = Consul::new(&base, &token)?;
        consul.enter(SERVICE, FIRST).await?;
        let settings = Settings {
            token: Some(token.into()),
            ..Settings::new(base)
        };
        let registry = ConsulRegistry::new(settings, &Breakers::default());
        let registry = registry.map_err(|error| Failure::wrong(error.to_string()))?;
        self.0 = Some(Prepared {
            limit: consul.follow(SERVICE),
            ours: registry.watch_foreign(SERVICE),
            consul,
            _registry: registry,
        });
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let prepared = self.0.as_mut();
        let prepared = prepared.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let mut times = Vec::with_capacity(CHANGES);
        prepared.seen(side, 1).await?;
        for change in 0..CHANGES {
            let begun = Instant::now();
            let expected = if change % 2 == 0 {
                prepared.consul.enter(SERVICE, SECOND).await?;
                2
            } else {
                prepared.consul.leave(SECOND).await?;
                1
            };
            prepared.seen(side, expected).await?;
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
        }
        let mut values = Values::new();
        for (key, share) in [("p50", 0.5), ("p99", 0.99)] {
            values.extend(quantile(&mut times, share).map(|found| (key, found)));
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(prepared) = self.0.take() {
            for id in [FIRST, SECOND] {
                // It was taken out before, or Consul ends with this run.
                let _ = prepared.consul.leave(id).await;
            }
        }
    }
}

impl Prepared {
    /// Waits until a side sees so many instances.
    async fn seen(&mut self, side: Side, expected: usize) -> Result<(), Failure> {
        let seen = async {
            if side == Side::Limit {
                return self
                    .limit
                    .wait_for(|count| *count == expected)
                    .await
                    .is_ok();
            }
            while self.ours.current().len() != expected {
                if !self.ours.changed().await {
                    return false;
                }
            }
            true
        };
        match timeout(LIMIT, seen).await {
            Ok(true) => Ok(()),
            _ => Err(Failure::wrong("a change in Consul was not seen")),
        }
    }
}
