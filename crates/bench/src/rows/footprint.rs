//! G1 and G6: what the services weigh, idle in memory and on the disk.

use std::{fs, time::Duration};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;

use crate::{
    failure::Failure,
    peer::litellm,
    row::{Figure, Goal, Row, Side, Values},
    stage::{Core, Running, Stage, free_address},
};

/// The services that are judged, with the keys of their figures.
pub(crate) const SERVICES: [(ServiceName, &str); 4] = [
    (ServiceName::OllamaProxy, "proxy"),
    (ServiceName::TaskCoordinator, "coordinator"),
    (ServiceName::AgentOrchestrator, "orchestrator"),
    (ServiceName::Backend, "backend"),
];
/// Pools are open and caches filled after so long.
const SETTLE: Duration = Duration::from_secs(5);
/// Longest time to take work.
pub(super) const LIMIT: Duration = Duration::from_secs(30);

/// Idle memory of one instance of each service, with its own release binary and all pools open.
#[derive(Debug, Default)]
pub(super) struct G1 {
    running: Vec<(&'static str, Running)>,
    limit: Option<Running>,
    peer: Option<Running>,
}

#[async_trait]
impl Row for G1 {
    fn id(&self) -> &'static str {
        "G1"
    }

    fn what(&self) -> &'static str {
        "memory of the idle services (RSS), all pools open"
    }

    fn figures(&self) -> Vec<Figure> {
        let of = |key, what, bound| Figure::new(key, what, "MiB").alone(Goal::AtMost(bound));
        vec![
            of("all", "the four services together, idle", 45.0),
            of("proxy", "ollama-proxy, idle", 8.0),
            of("coordinator", "task-coordinator, idle", 10.0),
            of("orchestrator", "agent-orchestrator, idle", 12.0),
            of("backend", "backend, idle", 15.0),
            Figure::new("own", "the four together, without pages of files", "MiB"),
            Figure::new("proxy", "ollama-proxy, idle", "MiB").limit(Goal::None),
            Figure::new("proxy", "ollama-proxy, idle", "MiB")
                .peer(litellm::NAME, Goal::RatioAtMost(1.0 / 30.0)),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Limit, Side::Ours, Side::Peer(litellm::NAME)]
    }

    /// Nothing happens between rounds.
    fn rounds(&self, asked: usize) -> usize {
        asked.min(3)
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let (node, key) = (platform.node(), platform.api_key()?);
        for (service, name) in SERVICES {
            let at = free_address()?;
            let running = stage
                .start(&stage.twin(service, at).await?, Core::All)
                .await?;
            running.ready(at, "/readyz", LIMIT).await?;
            self.running.push((name, running));
        }
        let at = free_address()?;
        let proxy = stage.part("proxy", [at.port().to_string(), node.to_string()]);
        let limit = stage.start(&proxy, Core::All).await?;
        limit.ready(at, "/api/version", LIMIT).await?;
        self.limit = Some(limit);
        if stage.peers() {
            self.peer = Some(litellm::start(stage, node, &key).await?.1);
        }
        tokio::time::sleep(SETTLE).await;
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let mib = |running: &Running| Ok::<_, Failure>(running.resident()? / 1024.0);
        let one = match side {
            Side::Ours => None,
            Side::Limit => self.limit.as_ref(),
            _ => self.peer.as_ref(),
        };
        if let Some(running) = one {
            return Ok([("proxy", mib(running)?)].into());
        }
        let mut values = Values::new();
        for (name, running) in &self.running {
            values.insert(name, mib(running)?);
        }
        values.insert("all", values.values().sum());
        let own = self.running.iter().map(|(_, running)| running.anonymous());
        values.insert("own", own.sum::<Result<f64, Failure>>()? / 1024.0);
        Ok(values)
    }

    async fn finish(&mut self) {
        let ours = std::mem::take(&mut self.running).into_iter();
        let others = [self.limit.take(), self.peer.take()];
        for running in ours
            .map(|(_, running)| running)
            .chain(others.into_iter().flatten())
        {
            running.stop().await;
        }
    }
}

/// Size of the release binaries.
#[derive(Debug)]
pub(super) struct G6;

#[async_trait]
impl Row for G6 {
    fn id(&self) -> &'static str {
        "G6"
    }

    fn what(&self) -> &'static str {
        "size of the release binaries, symbols stripped"
    }

    fn figures(&self) -> Vec<Figure> {
        let of = |key, what| Figure::new(key, what, "MiB").alone(Goal::AtMost(15.0));
        vec![
            of("proxy", "ollama-proxy, on the disk"),
            of("coordinator", "task-coordinator, on the disk"),
            of("orchestrator", "agent-orchestrator, on the disk"),
            of("backend", "backend, on the disk"),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Ours]
    }

    fn rounds(&self, _: usize) -> usize {
        1
    }

    async fn prepare(&mut self, _: &Stage) -> Result<(), Failure> {
        Ok(())
    }

    async fn measure(&mut self, stage: &Stage, _: Side) -> Result<Values, Failure> {
        let size = |(service, key): (ServiceName, &'static str)| {
            let file = stage.binary(service.as_str());
            let doing = Failure::doing(format!("look at {}", file.display()));
            let bytes = fs::metadata(&file).map_err(doing)?.len();
            Ok((key, bytes as f64 / 1024.0 / 1024.0))
        };
        SERVICES.into_iter().map(size).collect()
    }
}
