//! A service as a process: sockets, readiness, registration, work, and the stop.

mod builder;
mod process;
mod running;
mod stop;

use std::{future::Future, io, net::SocketAddr};

use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::BrokerError;

use crate::lifecycle::Shutdown;

pub(crate) use builder::VERSION;
pub use builder::{Builder, FIRST_LIMIT};
pub use process::Process;

/// A service that is built and has its sockets, and now wants to run.
pub trait Service: Send + Sized + 'static {
    /// Its name.
    const NAME: ServiceName;

    /// Returns where it listens.
    fn addresses(&self) -> Addresses;

    /// Runs until `shutdown` and the end of open work.
    ///
    /// # Errors
    ///
    /// Fails when it could not start, or when a part of it died.
    fn run(self, shutdown: Shutdown) -> impl Future<Output = Result<(), RunError>> + Send;
}

/// Where a process listens; never port 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// HTTP: the service's own routes, health and metrics.
    pub http: SocketAddr,
    /// gRPC: the service's own calls, health, reflection and diagnostics.
    pub grpc: SocketAddr,
}

/// Why a process did not get its sockets.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, not ours, or needs more rights.
    #[error("can not listen on {address}, which {setting} names")]
    Listen {
        /// The address that was tried.
        address: SocketAddr,
        /// The setting with the address.
        setting: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The address for others can not be found.
    #[error(
        "no interface leads to other services: set ADVERTISE_ADDRESS to the address of this one"
    )]
    Advertise(#[source] io::Error),
    /// The descriptors of the protocol do not describe it.
    #[error("the descriptors for gRPC reflection are unusable")]
    Descriptors(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why a process ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Required parts did not work within the time for the start.
    #[error("not ready in time: {0}")]
    NotReady(String),
    /// A consumer could not begin.
    #[error("the consumer `{name}` could not start")]
    Consumer {
        /// Name of the consumer.
        name: &'static str,
        /// What the broker said.
        source: BrokerError,
    },
    /// A task that should run as long as the process panicked.
    #[error("the task `{0}` died")]
    TaskDied(&'static str),
    /// Open work was dropped because a second signal asked for it.
    #[error("open work was dropped on request")]
    Aborted,
}
