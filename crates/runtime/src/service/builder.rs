//! Collects what a process is made of, and takes its sockets.

use std::{
    collections::BTreeMap, fmt::Display, future::Future, net::SocketAddr, sync::Arc, time::Duration,
};

use axum::Router;
use futures::{FutureExt, future::BoxFuture};
use http::Extensions;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, InstanceId, Registry},
};
use sutazai_messaging::{BrokerError, Consumer};
use sutazai_resilience::Breakers;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Status, service::Routes};
use uuid::Uuid;

use super::{Addresses, BindError, Process};
use crate::{
    admin::{self, Operator, Standing},
    config::Base,
    grpc, http_layers,
    probe::Probe,
};

/// Time within which the required parts must work after the start.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for what a process does before it is ready.
pub const FIRST_LIMIT: Duration = Duration::from_secs(20);
/// Version of the platform: all crates share one.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) type Guard = Box<dyn FnOnce(Router) -> Router + Send>;
pub(super) type StartConsumer =
    Box<dyn Fn() -> BoxFuture<'static, Result<Consumer, BrokerError>> + Send>;
pub(super) type StartBackground =
    Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>;
pub(super) type Hook = Box<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send>;

/// What a process does besides serving; all but `first` begins once the process is ready.
#[derive(Default)]
pub(super) struct Work {
    pub(super) first: Vec<(&'static str, Hook)>,
    pub(super) consumers: Vec<(&'static str, StartConsumer)>,
    pub(super) background: Vec<(&'static str, StartBackground)>,
    pub(super) hooks: Vec<(&'static str, Hook)>,
}

/// Collects what a process is made of.
#[must_use = "nothing listens before `bind`"]
pub struct Builder {
    name: ServiceName,
    base: Base,
    instance_id: InstanceId,
    http: Router,
    health_aliases: Vec<&'static str>,
    grpc: Routes,
    guard: Option<Guard>,
    operator: Operator,
    probes: Vec<Arc<dyn Probe>>,
    breakers: Breakers,
    meta: BTreeMap<String, String>,
    start_limit: Duration,
    work: Work,
}

impl Builder {
    pub(super) fn new(name: ServiceName, base: &Base) -> Self {
        // The last 32 bits of a version 4 UUID are all random.
        let random = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
        Self {
            name,
            base: base.clone(),
            instance_id: InstanceId::new(format!("{name}-{random:08x}")),
            http: Router::new(),
            health_aliases: Vec::new(),
            grpc: Routes::default(),
            guard: None,
            operator: Arc::new(admin::nobody),
            probes: Vec::new(),
            breakers: Breakers::new(),
            meta: BTreeMap::new(),
            start_limit: START_LIMIT,
            work: Work::default(),
        }
    }

    /// Returns the id under which the instance registers.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance_id
    }

    /// Serves these routes over HTTP, beside the administrative ones.
    pub fn http(mut self, routes: Router) -> Self {
        self.http = self.http.merge(routes);
        self
    }

    /// Answers `/health` at this path too.
    pub fn health_alias(mut self, path: &'static str) -> Self {
        self.health_aliases.push(path);
        self
    }

    /// Serves these calls over gRPC, beside health, reflection and diagnostics.
    pub fn grpc(mut self, routes: Routes) -> Self {
        self.grpc = routes;
        self
    }

    /// Puts this in front of all calls over gRPC but health and, outside production, reflection.
    pub fn guard(mut self, guard: impl FnOnce(Router) -> Router + Send + 'static) -> Self {
        self.guard = Some(Box::new(guard));
        self
    }

    /// Says who may change the process over gRPC, by what the guard left in the call; without this
    /// nobody may. The name goes to the log.
    pub fn operator(
        mut self,
        judge: impl Fn(&Extensions) -> Result<String, Status> + Send + Sync + 'static,
    ) -> Self {
        self.operator = Arc::new(judge);
        self
    }

    /// Watches a part of the service.
    pub fn probe(mut self, probe: Arc<dyn Probe>) -> Self {
        self.probes.push(probe);
        self
    }

    /// Shows these breakers in the diagnostics.
    pub fn breakers(mut self, breakers: Breakers) -> Self {
        self.breakers = breakers;
        self
    }

    /// Registers the instance with this fact.
    pub fn meta(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.meta.insert(key.into(), value.into());
        self
    }

    /// Gives the required parts this long to work after the start, instead of 30 s.
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.start_limit = limit;
        self
    }

    /// Starts a consumer once the process is ready, and stops it when the drain begins.
    ///
    /// A broker that is away is asked again after a pause; any other refusal stops the process.
    pub fn consumer<F>(mut self, name: &'static str, start: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Consumer, BrokerError>> + Send + 'static,
    {
        let start: StartConsumer = Box::new(move || start().boxed());
        self.work.consumers.push((name, start));
        self
    }

    /// Runs a task from readiness to the beginning of the drain, which cancels its token.
    ///
    /// The process stops with an error when the task panics. A task that ends by itself is done.
    pub fn background<F>(
        mut self,
        name: &'static str,
        run: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let run: StartBackground = Box::new(move |stop| run(stop).boxed());
        self.work.background.push((name, run));
        self
    }

    /// Does this before the process is ready and registered, and again after a pause while it fails.
    ///
    /// After [`FIRST_LIMIT`] the process goes on without it: whoever the hook needs may be away for
    /// long, and must not keep this one away too.
    pub fn first<F, E>(mut self, name: &'static str, hook: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.work.first.push((name, boxed(hook)));
        self
    }

    /// Does this once the process is registered, and again after a pause as long as it fails.
    pub fn on_ready<F, E>(
        mut self,
        name: &'static str,
        hook: impl Fn() -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display,
    {
        self.work.hooks.push((name, boxed(hook)));
        self
    }

    /// Takes the sockets; nothing is answered before [`Process::run`].
    ///
    /// # Errors
    ///
    /// Fails when an address can not be listened on.
    pub async fn bind(self, registry: Arc<dyn Registry>) -> Result<Process, BindError> {
        let http_listener = listen(self.base.http_listen, "HTTP_LISTEN").await?;
        let grpc_listener = listen(self.base.grpc_listen, "GRPC_LISTEN").await?;
        let addresses = Addresses {
            http: local(&http_listener, "HTTP_LISTEN", self.base.http_listen)?,
            grpc: local(&grpc_listener, "GRPC_LISTEN", self.base.grpc_listen)?,
        };
        let advertise = self.base.advertise;
        let reached = |listening| match advertise {
            Some(advertise) => advertise
                .address_of(listening)
                .map_err(BindError::Advertise),
            None => Ok(listening),
        };
        let standing = Arc::new(Standing::new(
            self.name,
            self.instance_id.clone(),
            self.base.profile,
            addresses,
            self.probes,
            self.breakers,
        ));
        let admin = admin::routes(&standing, &self.health_aliases);
        let http = http_layers::wrap(self.http.merge(admin), self.name);
        let surface = grpc::assemble(self.grpc, self.guard, self.operator, &standing).await?;
        Ok(Process {
            instance: Instance {
                id: self.instance_id,
                service: self.name,
                grpc: reached(addresses.grpc)?,
                http: Some(reached(addresses.http)?),
                version: VERSION.to_owned(),
                meta: self.meta,
            },
            base: self.base,
            addresses,
            registry,
            standing,
            http: (http_listener, http),
            grpc: (grpc_listener, surface.router),
            health: surface.health,
            start_limit: self.start_limit,
            work: self.work,
        })
    }
}

fn boxed<F, E>(hook: impl Fn() -> F + Send + 'static) -> Hook
where
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display,
{
    Box::new(move || {
        hook()
            .map(|done| done.map_err(|error| error.to_string()))
            .boxed()
    })
}

async fn listen(address: SocketAddr, setting: &'static str) -> Result<TcpListener, BindError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| BindError::Listen {
            address,
            setting,
            source,
        })
}

fn local(
    listener: &TcpListener,
    setting: &'static str,
    address: SocketAddr,
) -> Result<SocketAddr, BindError> {
    listener.local_addr().map_err(|source| BindError::Listen {
        address,
        setting,
        source,
    })
}
