//! G4: from exec to the first answer that says "ready".

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;

use super::footprint::{LIMIT, SERVICES};
use crate::{
    failure::Failure,
    peer::litellm,
    row::{Figure, Goal, Row, Side, Values},
    stage::{Core, Program, Stage, free_address},
};

/// Start of each service while Postgres, Redis, RabbitMQ and Consul are up.
#[derive(Debug, Default)]
pub(super) struct G4;

#[async_trait]
impl Row for G4 {
    fn id(&self) -> &'static str {
        "G4"
    }

    fn what(&self) -> &'static str {
        "exec to the first 200 of /readyz, all servers up"
    }

    fn figures(&self) -> Vec<Figure> {
        let of = |key, what| Figure::new(key, what, "ms").alone(Goal::AtMost(150.0));
        vec![
            of("proxy", "ollama-proxy, exec to ready"),
            of("coordinator", "task-coordinator, exec to ready"),
            of("orchestrator", "agent-orchestrator, exec to ready"),
            of("backend", "backend, exec to ready"),
            Figure::new("proxy", "ollama-proxy, exec to ready", "ms").limit(Goal::None),
            Figure::new("proxy", "ollama-proxy, exec to ready", "ms")
                .peer(litellm::NAME, Goal::RatioAtMost(1.0 / 30.0)),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Limit, Side::Ours, Side::Peer(litellm::NAME)]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        stage.platform().await.map(drop)
    }

    async fn measure(&mut self, stage: &Stage, side: Side) -> Result<Values, Failure> {
        let platform = stage.platform().await?;
        let mut values = Values::new();
        match side {
            Side::Ours => {
                for (service, key) in SERVICES {
                    let at = free_address()?;
                    let program = stage.twin(service, at).await?;
                    values.insert(key, time(stage, &program, at, "/readyz").await?);
                }
            }
            Side::Limit => {
                let at = free_address()?;
                let proxy = [at.port().to_string(), platform.node().to_string()];
                let program = stage.part("proxy", proxy);
                values.insert("proxy", time(stage, &program, at, "/api/version").await?);
            }
            _ => {
                let key = platform.api_key()?;
                let (_, running, took) = litellm::timed(stage, platform.node(), &key).await?;
                running.stop().await;
                values.insert("proxy", millis(took));
            }
        }
        Ok(values)
    }
}

async fn time(
    stage: &Stage,
    program: &Program,
    at: SocketAddr,
    path: &str,
) -> Result<f64, Failure> {
    let running = stage.start(program, Core::Server).await?;
    let took = running.ready(at, path, LIMIT).await;
    running.stop().await;
    Ok(millis(took?))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
