//! An agent that does nothing, built as every agent is, and who submits tasks to it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use sutazai_agent_kit::{
    About, Agent, Capability, Failure as Failed, Links, Payload, TaskContext, Worker, json_payload,
};
use sutazai_auth::{
    identity::Identity,
    principal::{DEFAULT_TENANT, Principal, Role},
};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Mesh,
    registry::{
        InstanceId, Registry,
        consul::{ConsulRegistry, Settings},
    },
};
use sutazai_messaging::rabbit::{self, RabbitBroker};
use sutazai_proto::tasks::v1::{CreateTaskRequest, EffectMode, tasks_client::TasksClient};
use sutazai_resilience::{Breakers, Deadline};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{failure::Failure, stage::Stage};

/// The only type of tasks that the agent takes.
pub const TYPE: &str = "bench.noop";
/// Bytes of a task's input.
pub const INPUT: [u8; 512] = [b'x'; 512];
/// Tasks at once: as many as its room for leases leaves space for results that are on the way.
const SLOTS: u16 = 256;
/// Starts that nobody has counted yet; more hold the agent up.
const WAITING: usize = 16_384;
const GRACE: Duration = Duration::from_secs(5);
const COORDINATOR: ServiceName = ServiceName::TaskCoordinator;
/// Longest time of one call.
const CALL: Duration = Duration::from_secs(20);

/// The agent at work, and the way in.
#[derive(Debug)]
pub struct Noop {
    door: Door,
    started: mpsc::Receiver<Instant>,
    stop: CancellationToken,
    worker: JoinHandle<()>,
}

/// Submits tasks over gRPC, as the backend does: HTTP before it would be measured too.
#[derive(Clone, Debug)]
pub struct Door {
    mesh: Mesh,
    identity: Identity,
    principal: Principal,
}

struct Idle(mpsc::Sender<Instant>);

impl Noop {
    /// Starts the agent, under the identity of the platform's own agent, and submits once, so that
    /// its type is known and its queue is there.
    ///
    /// # Errors
    /// The platform does not take it.
    pub async fn start(stage: &Stage) -> Result<Self, Failure> {
        let platform = stage.platform().await?;
        let unusable = |error: &dyn std::error::Error| Failure::wrong(error.to_string());
        let breakers = Breakers::default();
        let token = platform.consul_token(ServiceName::AutomationAgent.as_str())?;
        let settings = Settings {
            token: Some(token.into()),
            ..Settings::new(platform.servers()?.consul)
        };
        let consul = ConsulRegistry::new(settings, &breakers);
        let registry: Arc<dyn Registry> = Arc::new(consul.map_err(|error| unusable(&error))?);
        let identity = |service| {
            let key = platform.file_of(service, "SERVICE_KEY_FILE")?;
            let keys = platform.file_of(service, "JWKS_FILE")?;
            Identity::from_files(service, &key, &keys).map_err(|error| unusable(&error))
        };
        let url = platform.secret_of(COORDINATOR, "AMQP_URL_FILE")?;
        let broker = RabbitBroker::new(&rabbit::Settings::new(url, "bench"), &breakers);
        let (told, started) = mpsc::channel(WAITING);
        let links = Links {
            mesh: Mesh::new(
                ServiceName::AutomationAgent,
                Arc::clone(&registry),
                breakers.clone(),
            ),
            identity: identity(ServiceName::AutomationAgent)?,
            broker: Arc::new(broker.map_err(|error| unusable(&error))?),
            instance: InstanceId::new(format!("bench-{}", Uuid::now_v7())),
        };
        let worker = Worker::new(Arc::new(Idle(told)), links, GRACE);
        let stop = CancellationToken::new();
        let worker = tokio::spawn(worker.run(stop.clone()));
        let door = Door {
            mesh: Mesh::new(ServiceName::Backend, registry, breakers),
            identity: identity(ServiceName::Backend)?,
            principal: Principal {
                subject: "bench".to_owned(),
                tenant: DEFAULT_TENANT.to_owned(),
                roles: vec![Role::User],
                scopes: None,
            },
        };
        let mut noop = Self {
            door,
            started,
            stop,
            worker,
        };
        noop.first().await?;
        Ok(noop)
    }

    /// Submits until the type is known: the agent's first heartbeat brings it.
    async fn first(&mut self) -> Result<(), Failure> {
        let begun = Instant::now();
        loop {
            match self.door.submit().await {
                Ok(()) => return self.next().await.map(drop),
                Err(failure) if begun.elapsed() > CALL => return Err(failure),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// Returns who submits; clones share the connections.
    pub fn door(&self) -> Door {
        self.door.clone()
    }

    /// Waits until the agent has begun a task, and returns when that was.
    ///
    /// # Errors
    /// It has not in time.
    pub async fn next(&mut self) -> Result<Instant, Failure> {
        let next = tokio::time::timeout(CALL, self.started.recv()).await;
        let next = next.ok().flatten();
        next.ok_or_else(|| Failure::wrong("a task was not begun"))
    }

    /// Drains the agent.
    pub async fn stop(self) {
        self.stop.cancel();
        // It ends within its grace.
        let _ = self.worker.await;
    }
}

impl Door {
    /// Submits a task; it is stored when this returns.
    ///
    /// # Errors
    /// It was refused.
    pub async fn submit(&self) -> Result<(), Failure> {
        let message = CreateTaskRequest {
            r#type: TYPE.to_owned(),
            input: Some(Payload {
                data: INPUT.to_vec().into(),
                content_type: "application/octet-stream".to_owned(),
            }),
            ..CreateTaskRequest::default()
        };
        let deadline = Deadline::after(CALL);
        let request = self
            .identity
            .request(COORDINATOR, Some(&self.principal), deadline, message);
        let request = request.map_err(|error| Failure::wrong(error.to_string()))?;
        let channel = self.mesh.channel(COORDINATOR);
        let answer = TasksClient::new(channel).create_task(request).await;
        answer.map_err(|status| Failure::wrong(format!("a task was refused: {status}")))?;
        Ok(())
    }
}

#[async_trait]
impl Agent for Idle {
    fn about(&self) -> About {
        About {
            name: ServiceName::AutomationAgent,
            version: env!("CARGO_PKG_VERSION"),
            description: "Does nothing.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability {
            task_type: TYPE,
            description: "Does nothing.",
            effect_mode: EffectMode::Idempotent,
            max_attempts: 3,
            attempt_timeout: Duration::from_secs(60),
        }]
    }

    fn slots(&self) -> u16 {
        SLOTS
    }

    async fn run(&self, _: TaskContext) -> Result<Payload, Failed> {
        // Nobody listens while it drains.
        let _ = self.0.send(Instant::now()).await;
        json_payload(&())
    }
}
