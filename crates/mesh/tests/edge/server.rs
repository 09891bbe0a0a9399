//! A real gRPC server that can be told to misbehave, and to die.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{Instance, InstanceId};
use sutazai_proto::agents::v1::{
    Agent, AnnounceRequest, AnnounceResponse, GetAgentRequest, ListAgentsRequest,
    ListAgentsResponse,
    agents_server::{Agents, AgentsServer},
};
use sutazai_proto::{ErrorCode, RemoteError, status::WRONG_SERVICE, to_status};
use tokio::{net::TcpListener, runtime::Runtime, sync::Semaphore};
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};

/// Asked for this, a server answers when its gate is opened.
pub(crate) const HOLD: &str = "hold";
/// Asked for this, a server says that it is not available.
pub(crate) const UNAVAILABLE: &str = "unavailable";
/// Asked to watch this, a server sends as much as is taken.
pub(crate) const FLOOD: &str = "flood";
/// Asked for this, a server knows nothing of it.
pub(crate) const UNKNOWN: &str = "unknown";

/// Calls that a server takes at once on one connection, as our services do.
pub(crate) const STREAMS: usize = 200;

/// What a server shows to a test.
#[derive(Default)]
pub(crate) struct Inside {
    calls: AtomicUsize,
    /// Messages of floods.
    flood: AtomicUsize,
    /// Whether it answers everything with `UNAVAILABLE`, in the platform's own words.
    ill: AtomicBool,
    /// Whether it refuses everything, because the callers' tokens are for another service.
    other: AtomicBool,
    /// How long it takes for each answer, in milliseconds.
    slowness: AtomicU64,
    gate: Option<Semaphore>,
    metadata: Mutex<Option<MetadataMap>>,
}

/// A server on a port of its own, with threads of its own: they go when it does.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
    runtime: Option<Runtime>,
}

struct Service(Arc<Inside>);

impl TestServer {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside {
            gate: Some(Semaphore::new(0)),
            ..Inside::default()
        });
        let health = HealthServer::new(Service(Arc::clone(&inside)));
        let agents = AgentsServer::new(Service(Arc::clone(&inside)));
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            Server::builder()
                .max_concurrent_streams(u32::try_from(STREAMS).unwrap())
                .add_service(health)
                .add_service(agents)
                .serve_with_incoming(incoming)
                .await
        });
        Self {
            address,
            inside,
            runtime: Some(runtime),
        }
    }

    /// Returns how it would register.
    pub(crate) fn instance(&self, id: &str, service: ServiceName) -> Instance {
        instance(id, service, self.address)
    }

    pub(crate) fn calls(&self) -> usize {
        self.inside.calls.load(Ordering::SeqCst)
    }

    /// Returns how many messages all floods have sent.
    pub(crate) fn flooded(&self) -> usize {
        self.inside.flood.load(Ordering::SeqCst)
    }

    /// Answers everything with `UNAVAILABLE` from now on, or no longer.
    pub(crate) fn set_ill(&self, ill: bool) {
        self.inside.ill.store(ill, Ordering::SeqCst);
    }

    /// Refuses everything from now on, as a service does that got this address after the one before.
    pub(crate) fn become_another_service(&self) {
        self.inside.other.store(true, Ordering::SeqCst);
    }

    /// Takes this long for each answer from now on.
    pub(crate) fn set_slow(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.inside.slowness.store(millis, Ordering::SeqCst);
    }

    /// Lets this many calls go that are held, now or later.
    pub(crate) fn open_gate(&self, calls: usize) {
        self.inside.gate.as_ref().unwrap().add_permits(calls);
    }

    /// Returns what came with the last call.
    pub(crate) fn metadata(&self, name: &str) -> Option<String> {
        let metadata = self.inside.metadata.lock();
        let value = metadata.as_ref()?.get(name)?;
        Some(value.to_str().unwrap().to_owned())
    }

    /// Ends it as `kill -9` does: port and connections close, nobody says goodbye.
    pub(crate) fn kill(mut self) {
        self.end();
        // Its threads need a moment to let go of the port.
        let died = (0..2_000).any(|_| {
            let refused = std::net::TcpStream::connect(self.address).is_err();
            if !refused {
                std::thread::sleep(Duration::from_millis(5));
            }
            refused
        });
        assert!(died, "the port of a dead server still answers");
    }

    fn end(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn instance(id: &str, service: ServiceName, grpc: SocketAddr) -> Instance {
    Instance {
        id: InstanceId::new(id),
        service,
        grpc,
        http: None,
        version: "0.1.0".to_owned(),
        meta: BTreeMap::new(),
    }
}

/// Returns an address where nobody listens.
pub(crate) fn dead_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

fn serving() -> HealthCheckResponse {
    HealthCheckResponse {
        status: ServingStatus::Serving.into(),
    }
}

impl Inside {
    async fn held(&self) {
        self.gate
            .as_ref()
            .unwrap()
            .acquire()
            .await
            .unwrap()
            .forget();
    }
}

impl Service {
    /// Does what a request asks for.
    async fn obey(&self, metadata: &MetadataMap, what: &str) -> Result<(), Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        *self.0.metadata.lock() = Some(metadata.clone());
        if self.0.other.load(Ordering::SeqCst) {
            let code = ErrorCode::Unauthenticated;
            let error = RemoteError::new(code, WRONG_SERVICE, "for another service");
            return Err(to_status(&error));
        }
        let slowness = Duration::from_millis(self.0.slowness.load(Ordering::SeqCst));
        if !slowness.is_zero() {
            tokio::time::sleep(slowness).await;
        }
        if self.0.ill.load(Ordering::SeqCst) {
            let error = RemoteError::new(ErrorCode::Unavailable, "ill", "as it was told");
            return Err(to_status(&error));
        }
        match what {
            HOLD => self.0.held().await,
            UNAVAILABLE => return Err(Status::unavailable("on request")),
            UNKNOWN => return Err(Status::not_found("on request")),
            _ => {}
        }
        Ok(())
    }
}

/// Its calls are not idempotent, as far as the contracts say.
#[tonic::async_trait]
impl Health for Service {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let what = &request.get_ref().service;
        self.obey(request.metadata(), what).await?;
        Ok(Response::new(serving()))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// Answers once, and again each time the gate lets it.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let inside = Arc::clone(&self.0);
        if request.get_ref().service == FLOOD {
            let flood = tokio_stream::iter(0..).map(move |_: u64| {
                inside.flood.fetch_add(1, Ordering::SeqCst);
                Ok(serving())
            });
            return Ok(Response::new(Box::pin(flood)));
        }
        let gated = tokio_stream::iter(0..).then(move |turn| {
            let inside = Arc::clone(&inside);
            async move {
                if turn > 0 {
                    inside.held().await;
                }
                Ok(serving())
            }
        });
        Ok(Response::new(Box::pin(gated)))
    }
}

/// Its calls are idempotent.
#[tonic::async_trait]
impl Agents for Service {
    async fn get_agent(
        &self,
        request: Request<GetAgentRequest>,
    ) -> Result<Response<Agent>, Status> {
        let what = &request.get_ref().name;
        self.obey(request.metadata(), what).await?;
        Ok(Response::new(Agent {
            // So that a caller sees whether its whole request arrived.
            version: what.len().to_string(),
            ..Agent::default()
        }))
    }

    async fn list_agents(
        &self,
        request: Request<ListAgentsRequest>,
    ) -> Result<Response<ListAgentsResponse>, Status> {
        self.obey(request.metadata(), "").await?;
        Ok(Response::new(ListAgentsResponse::default()))
    }

    async fn announce(
        &self,
        request: Request<AnnounceRequest>,
    ) -> Result<Response<AnnounceResponse>, Status> {
        self.obey(request.metadata(), "").await?;
        Ok(Response::new(AnnounceResponse::default()))
    }
}
