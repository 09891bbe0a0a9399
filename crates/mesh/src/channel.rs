//! Balanced gRPC channels to the services of the platform.

use std::{
    collections::HashMap,
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::future::BoxFuture;
use http::{Request, Response};
use parking_lot::Mutex;
use sutazai_resilience::Breakers;
use tonic::body::Body;
use tower::Service;

use crate::catalog::ServiceName;
use crate::registry::{Instance, Registry};

mod answer;
mod balance;
mod call;
mod choice;
mod connections;
mod error;
mod link;
mod member;
mod outlier;
mod pool;
mod repeat;

pub use balance::{InvalidStrategies, Strategies, Strategy};
pub use call::ROUTING_KEY;
pub use error::EdgeError;
pub use link::ConnectError;
use member::Members;
use pool::Pool;

/// The way from one service to all others; clones share their connections.
#[derive(Clone)]
pub struct Mesh(Arc<Shared>);

struct Shared {
    from: ServiceName,
    registry: Arc<dyn Registry>,
    strategies: Strategies,
    members: Arc<Members>,
    pools: Mutex<HashMap<ServiceName, Arc<Pool>>>,
}

/// The way to one service, as the transport of a generated client.
///
/// It is always ready and never fails by itself: each failure is a gRPC status in the answer.
#[derive(Clone)]
pub struct Edge(Arc<Pool>);

impl Mesh {
    /// Makes the mesh of one process, with a breaker for each instance it calls; every service is
    /// balanced by the default strategy.
    pub fn new(from: ServiceName, registry: Arc<dyn Registry>, breakers: Breakers) -> Self {
        Self::balanced(from, registry, breakers, Strategies::default())
    }

    /// Makes the mesh of one process with a strategy for each service.
    pub fn balanced(
        from: ServiceName,
        registry: Arc<dyn Registry>,
        breakers: Breakers,
        strategies: Strategies,
    ) -> Self {
        let members = Arc::new(Members::new(from, breakers));
        Self(Arc::new(Shared {
            from,
            registry,
            strategies,
            members,
            pools: Mutex::default(),
        }))
    }

    /// Returns the way to any live instance of a service.
    ///
    /// Where the call graph knows no such way, each call is answered with an internal error.
    pub fn channel(&self, to: ServiceName) -> Edge {
        let Shared {
            from,
            registry,
            strategies,
            members,
            pools,
        } = &*self.0;
        let mut pools = pools.lock();
        let pool = pools.entry(to).or_insert_with(|| {
            let watch = registry.watch(to);
            let near = registry.zone().map(str::to_owned);
            let pool = Pool::watching(*from, to, watch, near, Arc::clone(members));
            Arc::new(pool.balanced(strategies.of(to)))
        });
        Edge(Arc::clone(pool))
    }

    /// Returns the way to one instance, whether it is registered or not.
    pub fn instance(&self, instance: &Instance) -> Edge {
        let member = self.0.members.member(instance);
        Edge(Arc::new(Pool::fixed(self.0.from, instance.service, member)))
    }

    /// Returns the registry that tells who is where.
    pub fn registry(&self) -> &Arc<dyn Registry> {
        &self.0.registry
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let registry = self.0.registry.kind();
        let mut debug = f.debug_struct("Mesh");
        debug
            .field("from", &self.0.from)
            .field("registry", &registry)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Edge");
        debug
            .field("from", &self.0.from)
            .field("to", &self.0.to)
            .finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for Edge {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let pool = Arc::clone(&self.0);
        Box::pin(async move { Ok(call::call(&pool, request).await) })
    }
}
