//! An agent that does what the test says, and workers that can die.

use std::{collections::BTreeMap, sync::Arc, thread, time::Duration};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::json;
use sutazai_agent_kit::{
    About, Agent, Capability, Failure, Links, Payload, TaskContext, Worker, json_payload,
};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Mesh,
    registry::{Instance, InstanceId, Lease, Registry, memory::MemoryRegistry},
};
use sutazai_messaging::memory::{Limits, MemoryBroker};
use sutazai_proto::tasks::v1::EffectMode;
use sutazai_resilience::Breakers;
use system_tests::{Setup, Stage, eventually};
use tokio_util::sync::CancellationToken;

/// A type that is launched once at most.
pub(super) const ONCE: &str = "test.once";
/// A type that may be launched again.
pub(super) const AGAIN: &str = "test.again";

/// Longest lease without a heartbeat, in seconds.
const LEASE: &str = "2";
/// Time that a worker gets to drain; longer than any test lets it.
const GRACE: Duration = Duration::from_secs(60);

/// Which worker launched which task.
type Launches = Arc<Mutex<Vec<(String, &'static str)>>>;

/// The platform, with what a worker beside it needs.
pub(super) struct Scene {
    pub(super) stage: Stage,
    broker: Arc<MemoryBroker>,
    launches: Launches,
}

/// What a worker does with each task.
#[derive(Clone)]
pub(super) enum Conduct {
    /// Succeeds at once.
    Answer,
    /// Never ends.
    Hang,
    /// Succeeds when it is told to.
    When(Told),
}

/// A word that is said once and stays said.
#[derive(Clone, Default)]
pub(super) struct Told(CancellationToken);

/// A worker with a runtime of its own, so that it can die as a process does.
pub(super) struct Process {
    thread: thread::JoinHandle<()>,
    stop: CancellationToken,
    death: CancellationToken,
    /// What the worker's own registry lists; nothing once it is cut off.
    coordinator: Option<Lease>,
}

struct Puppet {
    name: &'static str,
    conduct: Conduct,
    launches: Launches,
}

impl Scene {
    pub(super) async fn start() -> Self {
        let broker = Arc::new(MemoryBroker::new(Limits::default()));
        let setup = Setup::default()
            .broker(broker.clone())
            .setting("TASK_LEASE_SECONDS", LEASE);
        Self {
            stage: setup.start().await,
            broker,
            launches: Launches::default(),
        }
    }

    /// Starts a worker and waits until its task types are known.
    pub(super) async fn worker(&self, name: &'static str, conduct: Conduct) -> Process {
        let registry = MemoryRegistry::new();
        let coordinator = Instance {
            id: InstanceId::new("coordinator"),
            service: ServiceName::TaskCoordinator,
            grpc: self.stage.addresses(ServiceName::TaskCoordinator).grpc,
            http: None,
            version: "0.0.0".to_owned(),
            meta: BTreeMap::new(),
        };
        let coordinator = registry
            .register(coordinator)
            .await
            .expect("a place in the registry");
        let identity = self.stage.identity(ServiceName::AutomationAgent);
        let (stop, death) = (CancellationToken::new(), CancellationToken::new());
        let agent = Puppet {
            name,
            conduct,
            launches: self.launches.clone(),
        };
        let broker = self.broker.clone();
        let (stopped, dead) = (stop.clone(), death.clone());
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let registry = Arc::new(registry);
                let mesh = Mesh::new(ServiceName::AutomationAgent, registry, Breakers::new());
                let instance = InstanceId::new(name);
                let links = Links {
                    mesh,
                    identity,
                    broker,
                    instance,
                };
                let work = Worker::new(Arc::new(agent), links, GRACE).run(stopped);
                dead.run_until_cancelled(work).await;
            });
            // The runtime ends here, and with it whatever the worker still had in hand.
        });
        let worker = Process {
            thread,
            stop,
            death,
            coordinator: Some(coordinator),
        };
        eventually("the worker's credit", async || {
            let sql = "select free_slots::text from tasks.credits
                       where $1::uuid is not null and task_type = 'test.again' and free_slots > 0
                       order by reported_at desc";
            let any = uuid::Uuid::nil().to_string();
            let known = self
                .stage
                .admin()
                .get("/api/v1/tasks/types")
                .await
                .text
                .contains(AGAIN);
            (known && !self.stage.query(sql, &any).await.is_empty()).then_some(())
        })
        .await;
        worker
    }

    /// Waits until an attempt of a task runs and its agent was launched.
    pub(super) async fn running(&self, id: &str, attempt: usize) {
        let client = self.stage.admin();
        eventually(&format!("attempt {attempt} of {id}"), async || {
            let task = client.get(&format!("/api/v1/tasks/{id}")).await.json;
            let runs = task["state"] == "running" && task["attempt"] == attempt;
            (runs && self.launches_of(id).len() == attempt).then_some(())
        })
        .await;
    }

    /// Returns who launched a task, in order.
    pub(super) fn launches_of(&self, id: &str) -> Vec<&'static str> {
        let launches = self.launches.lock();
        launches
            .iter()
            .filter(|(task, _)| task == id)
            .map(|(_, worker)| *worker)
            .collect()
    }
}

impl Told {
    pub(super) fn say(&self) {
        self.0.cancel();
    }
}

impl Process {
    /// Takes the coordinator out of the worker's sight: no claim and no heartbeat reaches it.
    pub(super) async fn cut_off(&mut self) {
        let lease = self.coordinator.take().expect("it is cut off once");
        lease.close().await.expect("the registry");
    }

    /// Begins to drain: it takes nothing further, and what runs goes on.
    pub(super) fn retire(&self) {
        self.stop.cancel();
    }

    /// Dies at once and reports nothing.
    pub(super) async fn kill(self) {
        self.death.cancel();
        self.ended().await;
    }

    /// Drains and ends.
    pub(super) async fn stop(self) {
        self.retire();
        self.ended().await;
    }

    async fn ended(self) {
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        assert!(
            joined.is_ok_and(|ended| ended.is_ok()),
            "the worker panicked"
        );
    }
}

#[async_trait]
impl Agent for Puppet {
    fn about(&self) -> About {
        About {
            name: ServiceName::AutomationAgent,
            version: "0.0.0",
            description: "Does what the test says.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        let of = |task_type, effect_mode| Capability {
            task_type,
            description: "Does what the test says.",
            effect_mode,
            max_attempts: 3,
            attempt_timeout: Duration::from_secs(60),
        };
        vec![
            of(ONCE, EffectMode::AtMostOnce),
            of(AGAIN, EffectMode::Idempotent),
        ]
    }

    fn slots(&self) -> u16 {
        1
    }

    async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
        self.launches.lock().push((task.task_id, self.name));
        match &self.conduct {
            Conduct::Answer => {}
            Conduct::Hang => std::future::pending().await,
            Conduct::When(told) => told.0.cancelled().await,
        }
        json_payload(&json!({"by": self.name}))
    }
}
