//! Break a part, and exactly its row turns red with the cause.

use std::sync::Arc;

use async_trait::async_trait;
use sutazai_cli::doctor::{Report, Row, State};
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Foreign, Instance, Lease, Registry, RegistryError, Watch, memory::MemoryRegistry},
};
use sutazai_messaging::{
    Broker, BrokerError, Consumer, Handler,
    memory::{Limits, MemoryBroker},
    message::Outgoing,
    topology::Topology,
};
use system_tests::{Setup, Stage};
use tokio::sync::watch;

/// Parts in the order of the report.
const PARTS: [&str; 15] = [
    ServiceName::Backend.as_str(),
    ServiceName::TaskCoordinator.as_str(),
    ServiceName::AgentOrchestrator.as_str(),
    ServiceName::OllamaProxy.as_str(),
    ServiceName::AutomationAgent.as_str(),
    "postgres",
    "broker",
    "registry",
    "redis",
    "node",
    "kong",
    "breakers",
    "token",
    "task",
    "trace",
];

fn red(report: &Report) -> Vec<&Row> {
    report
        .rows
        .iter()
        .filter(|row| row.state == State::Broken)
        .collect()
}

fn assert_only_red(report: &Report, part: &str) {
    let red = red(report);
    let names: Vec<&str> = red.iter().map(|row| row.part.as_str()).collect();
    assert_eq!(names, [part], "{report:#?}");
    assert!(
        red[0].cause.as_ref().is_some_and(|cause| cause.len() > 10),
        "no cause: {:?}",
        red[0]
    );
    assert!(!report.is_well());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_platform_is_green_with_evidence_and_counters() {
    let stage = Stage::start().await;
    let report = stage.doctor().await;
    assert!(report.is_well(), "{report:#?}");
    let parts: Vec<&str> = report.rows.iter().map(|row| row.part.as_str()).collect();
    assert_eq!(parts, PARTS);
    for row in &report.rows {
        assert!(
            row.evidence.len() > 10,
            "{} shows no evidence: {:?}",
            row.part,
            row.evidence
        );
    }
    // Nothing is claimed that this process does not have.
    let row = |part: &str| report.rows.iter().find(|row| row.part == part);
    for part in ["broker", "registry"] {
        let evidence = &row(part).expect("the row").evidence;
        assert!(evidence.starts_with("in this process; "), "{evidence}");
    }
    for part in ["redis", "kong"] {
        assert_eq!(row(part).expect("the row").state, State::NotRun);
    }
    // A second look sees the work of the first one in the counters.
    let report = stage.doctor().await;
    for part in ["postgres", "broker"] {
        let row = report
            .rows
            .iter()
            .find(|row| row.part == part)
            .expect("the row");
        assert!(
            row.counters.values().any(|total| *total > 0),
            "{part} carried nothing: {row:?}"
        );
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_postgres_turns_its_row_red() {
    let stage = Stage::start().await;
    stage.kill_postgres().await;
    assert_only_red(&stage.doctor().await, "postgres");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_node_turns_its_row_red() {
    let stage = Stage::start().await;
    stage.nodes[0].kill();
    assert_only_red(&stage.doctor().await, "node");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stopped_service_turns_its_row_red() {
    for name in [
        ServiceName::Backend,
        ServiceName::TaskCoordinator,
        ServiceName::AgentOrchestrator,
        ServiceName::OllamaProxy,
        ServiceName::AutomationAgent,
    ] {
        let stage = Stage::start().await;
        stage.platform.stop_service(name).await;
        assert_only_red(&stage.doctor().await, name.as_str());
        stage.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_broker_turns_its_row_red() {
    let (fault, switch) = watch::channel(false);
    let broker = MemoryBroker::new(Limits { queue_length: 100 });
    let stage = Setup::default()
        .broker(Arc::new(Breakable {
            inner: broker,
            broken: switch,
        }))
        .start()
        .await;
    assert!(stage.doctor().await.is_well());
    fault.send_replace(true);
    assert_only_red(&stage.doctor().await, "broker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_registry_turns_its_row_red() {
    let (broken, switch) = watch::channel(false);
    let registry = Breakable {
        inner: MemoryRegistry::new(),
        broken: switch,
    };
    let stage = Setup::default().registry(Arc::new(registry)).start().await;
    broken.send_replace(true);
    assert_only_red(&stage.doctor().await, "registry");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_forgot_its_keys_turns_the_token_row_red() {
    let stage = Stage::start().await;
    // The key that signs users' tokens is replaced, but not published.
    let stranger = sutazai_auth::keys::SigningKey::generate().expect("a key");
    let pem = secrecy::ExposeSecret::expose_secret(&stranger.to_pem()).to_owned();
    let path = stage.data().join("keys/users.pem");
    sutazai_cli::secret_file::write(&path, &pem).expect("the key file");
    assert_only_red(&stage.doctor().await, "token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_can_not_be_accepted_turns_its_row_red() {
    let stage = Stage::start().await;
    stage
        .execute("revoke insert on tasks.outbox from task_coordinator")
        .await;
    assert_only_red(&stage.doctor().await, "task");
}

/// A part that fails on demand.
struct Breakable<T> {
    inner: T,
    broken: watch::Receiver<bool>,
}

impl Breakable<MemoryBroker> {
    fn check(&self) -> Result<(), BrokerError> {
        if *self.broken.borrow() {
            Err(BrokerError::Unavailable {
                kind: self.inner.kind(),
                source: "the test broke it".into(),
            })
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Broker for Breakable<MemoryBroker> {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.check()?;
        self.inner.declare(topology).await
    }

    async fn publish(&self, message: Outgoing) -> Result<(), BrokerError> {
        self.check()?;
        self.inner.publish(message).await
    }

    async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        handler: Arc<dyn Handler>,
    ) -> Result<Consumer, BrokerError> {
        self.inner.consume(queue, prefetch, handler).await
    }

    async fn depth(&self, queue: &str) -> Result<u64, BrokerError> {
        self.check()?;
        self.inner.depth(queue).await
    }

    fn durable(&self) -> bool {
        self.inner.durable()
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn ping(&self) -> Result<String, BrokerError> {
        self.check()?;
        self.inner.ping().await
    }
}

#[async_trait]
impl Registry for Breakable<MemoryRegistry> {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        self.inner.register(instance).await
    }

    fn watch(&self, service: ServiceName) -> Watch {
        self.inner.watch(service)
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        self.inner.watch_foreign(service)
    }

    fn kind(&self) -> &'static str {
        self.inner.kind()
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        if *self.broken.borrow() {
            return Err(RegistryError::Unavailable {
                kind: self.inner.kind(),
                source: "the test broke it".into(),
            });
        }
        self.inner.ping().await
    }
}
