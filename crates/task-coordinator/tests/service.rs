//! The task coordinator as a process of its own: real Postgres, real gRPC, a worker that is a few
//! lines of this file.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use secrecy::ExposeSecret;
use sutazai_auth::{
    Identity, Principal, Role,
    keys::{Issuer, SigningKey, write_jwks},
};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
    registry::memory::MemoryRegistry,
};
use sutazai_messaging::{
    Broker, Delivery, Handler, Outcome, Outgoing,
    memory::{Limits, MemoryBroker},
    topology,
};
use sutazai_persistence::migrate::migrate;
use sutazai_proto::events::EventType;
use sutazai_proto::tasks::v1::{
    ClaimRequest, CreateTaskRequest, EffectMode, GetTaskRequest, HeartbeatRequest,
    ListTasksRequest, Payload, TaskEventKind, TaskFinished, TaskReleased, TaskState, TaskType,
    WatchTaskRequest, WorkerCredit, claim_result, leases_client::LeasesClient, task_finished,
    tasks_client::TasksClient, watch_task_response::Item,
};
use sutazai_proto::{Coded, ErrorCode, RemoteError};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_runtime::{Parts, Service, Shutdown, Source, load, service::RunError};
use task_coordinator::Config;
use tempfile::TempDir;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tonic::Request;

const PATIENCE: Duration = Duration::from_secs(20);
const TYPE: &str = "llm.generate";
const COORDINATOR: ServiceName = ServiceName::TaskCoordinator;

struct Platform {
    registry: Arc<MemoryRegistry>,
    broker: MemoryBroker,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), RunError>>,
    folder: TempDir,
}

/// Another service, as far as the coordinator can see.
struct Peer {
    identity: Identity,
    edge: Edge,
}

fn key_file(folder: &Path, service: ServiceName) -> String {
    folder.join(format!("{service}.pem")).display().to_string()
}

fn jwks_file(folder: &Path) -> String {
    folder.join("jwks.json").display().to_string()
}

fn write_keys(folder: &Path) {
    let services = [
        COORDINATOR,
        ServiceName::Backend,
        ServiceName::AgentOrchestrator,
    ];
    let published = services.map(|service| {
        let key = SigningKey::generate().unwrap();
        let file = key_file(folder, service);
        fs::write(&file, key.to_pem().expose_secret()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        (Issuer::Service(service), key.public().clone())
    });
    write_jwks(Path::new(&jwks_file(folder)), &published).unwrap();
}

impl Platform {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_keys(folder.path());
        let database = sutazai_servers::scratch::database().await.unwrap();
        let owner = database.clone().into();
        migrate(
            &owner,
            task_coordinator::SCHEMA,
            &task_coordinator::MIGRATOR,
        )
        .await
        .unwrap();
        let source = Source::from_pairs([
            ("SUTAZAI_PROFILE", "dev"),
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("GRPC_LISTEN", "127.0.0.1:0"),
            ("DRAIN_GRACE_SECONDS", "10"),
            ("DATABASE_URL", &database),
            ("SERVICE_KEY_FILE", &key_file(folder.path(), COORDINATOR)),
            ("JWKS_FILE", &jwks_file(folder.path())),
        ]);
        let registry = Arc::new(MemoryRegistry::new());
        let broker = MemoryBroker::new(Limits::default());
        let parts = Parts::new(registry.clone(), Arc::new(broker.clone()));
        let service = load::<Config>(&source)
            .unwrap()
            .config
            .build(parts)
            .await
            .unwrap();
        let shutdown = Shutdown::new();
        let run = tokio::spawn(service.run(shutdown.clone()));
        let platform = Self {
            registry,
            broker,
            shutdown,
            run,
            folder,
        };
        platform.until_registered().await;
        platform
    }

    async fn until_registered(&self) {
        use sutazai_mesh::registry::Registry;
        let mut watch = self.registry.watch(COORDINATOR);
        let registered = timeout(PATIENCE, async {
            while watch.current().is_empty() {
                assert!(watch.changed().await);
            }
        });
        registered.await.unwrap();
    }

    fn peer(&self, service: ServiceName) -> Peer {
        let folder = self.folder.path();
        let key = key_file(folder, service);
        let identity =
            Identity::from_files(service, Path::new(&key), Path::new(&jwks_file(folder))).unwrap();
        let mesh = Mesh::new(service, self.registry.clone(), Breakers::new());
        Peer {
            identity,
            edge: mesh.channel(COORDINATOR),
        }
    }

    async fn stop(self) {
        self.shutdown.trigger();
        timeout(PATIENCE, self.run).await.unwrap().unwrap().unwrap();
    }
}

impl Peer {
    fn tasks(&self) -> TasksClient<Edge> {
        TasksClient::new(self.edge.clone())
    }

    fn leases(&self) -> LeasesClient<Edge> {
        LeasesClient::new(self.edge.clone())
    }

    fn own<T>(&self, message: T) -> Request<T> {
        let deadline = Deadline::after(PATIENCE);
        self.identity
            .request(COORDINATOR, None, deadline, message)
            .unwrap()
    }

    fn speak_for<T>(&self, role: Role, tenant: &str, message: T) -> Request<T> {
        let principal = Principal {
            subject: "alice".to_owned(),
            tenant: tenant.to_owned(),
            roles: vec![role],
            scopes: None,
        };
        let deadline = Deadline::after(PATIENCE);
        self.identity
            .request(COORDINATOR, Some(&principal), deadline, message)
            .unwrap()
    }

    async fn report(&self) {
        let task_type = TaskType {
            name: TYPE.to_owned(),
            effect_mode: EffectMode::Idempotent.into(),
            max_attempts: 3,
            attempt_timeout: Some(prost_types::Duration {
                seconds: 60,
                nanos: 0,
            }),
        };
        let credit = WorkerCredit {
            task_type: Some(task_type),
            free_slots: 2,
        };
        let beat = HeartbeatRequest {
            worker: "worker-1".to_owned(),
            credits: vec![credit],
            leases: Vec::new(),
        };
        self.leases().heartbeat(self.own(beat)).await.unwrap();
    }
}

struct Forward(mpsc::Sender<TaskReleased>);

#[async_trait]
impl Handler for Forward {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.0.send(delivery.decode().unwrap()).await.unwrap();
        Outcome::Done
    }
}

fn wanted() -> CreateTaskRequest {
    let input = Payload {
        data: "{}".into(),
        content_type: String::new(),
    };
    CreateTaskRequest {
        r#type: TYPE.to_owned(),
        input: Some(input),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_01_a_task_goes_from_the_submission_to_its_result() {
    let platform = Platform::start().await;
    let backend = platform.peer(ServiceName::Backend);
    let worker = platform.peer(ServiceName::AgentOrchestrator);

    let refused = backend
        .tasks()
        .create_task(backend.speak_for(Role::User, "t", wanted()))
        .await;
    let refused = RemoteError::from(refused.unwrap_err());
    assert_eq!(
        (refused.code(), refused.reason()),
        (ErrorCode::Unprocessable, "unknown_task_type")
    );

    worker.report().await;
    let made = backend
        .tasks()
        .create_task(backend.speak_for(Role::User, "t", wanted()))
        .await;
    let task = made.unwrap().into_inner().task.unwrap();
    assert_eq!(task.state(), TaskState::Queued);
    let watch = WatchTaskRequest {
        id: task.id.clone(),
        after_sequence: 0,
    };
    let watched = backend
        .tasks()
        .watch_task(backend.speak_for(Role::User, "t", watch))
        .await;
    let mut events = watched.unwrap().into_inner();

    let (sender, mut released) = mpsc::channel(1);
    let mut queue = topology::platform();
    let (work, binding) = topology::work_queue(TYPE);
    queue.queues.push(work.clone());
    queue.bindings.push(binding);
    platform.broker.declare(&queue).await.unwrap();
    let consumer = platform
        .broker
        .consume(&work.name, 1, Arc::new(Forward(sender)))
        .await
        .unwrap();
    let released = timeout(PATIENCE, released.recv()).await.unwrap().unwrap();
    assert_eq!(released.task_id, task.id);

    let claim = ClaimRequest {
        worker: "worker-1".to_owned(),
        task_ids: vec![released.task_id.clone()],
    };
    let claimed = worker
        .leases()
        .claim(worker.own(claim))
        .await
        .unwrap()
        .into_inner();
    let Some(claim_result::Outcome::Granted(grant)) = claimed.results[0].outcome else {
        unreachable!("refused: {claimed:?}")
    };
    let finished = TaskFinished {
        task_id: task.id.clone(),
        attempt: grant.attempt,
        worker: "worker-1".to_owned(),
        outcome: Some(task_finished::Outcome::Succeeded(Payload {
            data: "\"done\"".into(),
            content_type: "application/json".to_owned(),
        })),
    };
    let result = Outgoing::event("test", topology::EVENTS, TaskFinished::NAME, &finished);
    platform.broker.publish(result).await.unwrap();

    let mut kinds = Vec::new();
    while let Some(response) = timeout(PATIENCE, events.next()).await.unwrap() {
        if let Some(Item::Event(event)) = response.unwrap().item {
            kinds.push(event.kind());
        }
    }
    let expected = [
        TaskEventKind::Created,
        TaskEventKind::Released,
        TaskEventKind::Started,
        TaskEventKind::Succeeded,
    ];
    assert_eq!(kinds, expected);
    let get = GetTaskRequest { id: task.id };
    let read = backend
        .tasks()
        .get_task(backend.speak_for(Role::Viewer, "t", get))
        .await;
    assert_eq!(read.unwrap().into_inner().result.unwrap().data, "\"done\"");
    consumer.stop().await;
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sec_05_each_door_lets_in_only_those_it_is_for() {
    let platform = Platform::start().await;
    let backend = platform.peer(ServiceName::Backend);
    let worker = platform.peer(ServiceName::AgentOrchestrator);
    worker.report().await;
    let made = backend
        .tasks()
        .create_task(backend.speak_for(Role::User, "t", wanted()))
        .await;
    let id = made.unwrap().into_inner().task.unwrap().id;

    let beat = HeartbeatRequest {
        worker: "backend-1".to_owned(),
        ..Default::default()
    };
    let no_worker = backend
        .leases()
        .heartbeat(backend.own(beat))
        .await
        .unwrap_err();
    let nobody = backend
        .tasks()
        .create_task(backend.own(wanted()))
        .await
        .unwrap_err();
    let viewer = backend.speak_for(Role::Viewer, "t", wanted());
    let viewer = backend.tasks().create_task(viewer).await.unwrap_err();
    let stranger = backend.speak_for(Role::Admin, "other", GetTaskRequest { id });
    let stranger = backend.tasks().get_task(stranger).await.unwrap_err();
    let malformed = GetTaskRequest { id: "7".to_owned() };
    let malformed = backend
        .tasks()
        .get_task(backend.speak_for(Role::User, "t", malformed))
        .await;
    for (status, code, reason) in [
        (no_worker, ErrorCode::PermissionDenied, "missing_permission"),
        (nobody, ErrorCode::Unauthenticated, "missing_credential"),
        (viewer, ErrorCode::PermissionDenied, "missing_permission"),
        (stranger, ErrorCode::NotFound, "task_not_found"),
        (
            malformed.unwrap_err(),
            ErrorCode::InvalidArgument,
            "invalid_id",
        ),
    ] {
        let error = RemoteError::from(status);
        assert_eq!((error.code(), error.reason()), (code, reason));
    }
    let all = backend.speak_for(Role::Admin, "other", ListTasksRequest::default());
    let foreign = backend.tasks().list_tasks(all).await.unwrap().into_inner();
    assert!(foreign.tasks.is_empty());
    platform.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_an_end_does_not_hold_up_the_stop() {
    let platform = Platform::start().await;
    let backend = platform.peer(ServiceName::Backend);
    platform.peer(ServiceName::AgentOrchestrator).report().await;
    let made = backend
        .tasks()
        .create_task(backend.speak_for(Role::User, "t", wanted()))
        .await;
    let id = made.unwrap().into_inner().task.unwrap().id;
    let watch = backend.speak_for(
        Role::User,
        "t",
        WatchTaskRequest {
            id,
            after_sequence: 0,
        },
    );
    let mut events = backend
        .tasks()
        .watch_task(watch)
        .await
        .unwrap()
        .into_inner();
    let first = timeout(PATIENCE, events.next()).await.unwrap();
    assert!(first.unwrap().is_ok());
    let begun = tokio::time::Instant::now();
    platform.stop().await;
    assert!(
        begun.elapsed() < Duration::from_secs(9),
        "the grace was used up"
    );
    let mut end = None;
    while let Some(item) = timeout(PATIENCE, events.next()).await.unwrap() {
        end = Some(item);
    }
    let error = RemoteError::from(end.unwrap().unwrap_err());
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::Unavailable, "service_stopping")
    );
}
