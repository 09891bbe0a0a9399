//! Who is where: an instance registers and gets a lease, a caller watches a service.

use std::{collections::BTreeMap, error::Error, fmt, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::Deadline;
use tokio::sync::watch;

use crate::catalog::ServiceName;

pub mod consul;
pub mod memory;

/// Time for watchers in other processes to see a change.
const NOTICE: Duration = Duration::from_secs(2);

/// Names one running process; unique over all services and restarts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(String);

impl InstanceId {
    /// Takes a text that the caller made unique.
    pub fn new(id: impl Into<String>) -> Self {
        Self(id.into())
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One running process of a service, and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its unique id.
    pub id: InstanceId,
    /// Which service it is an instance of.
    pub service: ServiceName,
    /// Where it answers gRPC.
    pub grpc: SocketAddr,
    /// Where it answers HTTP, if others may ask there.
    pub http: Option<SocketAddr>,
    /// Its software version.
    pub version: String,
    /// Further facts by name.
    pub meta: BTreeMap<String, String>,
}

impl Instance {
    /// Name of the fact that tells its share of the calls, a number from 1 to 65535.
    pub const WEIGHT: &str = "weight";
    /// Name of the fact that tells which part of the network it is in.
    pub const ZONE: &str = "zone";

    /// Returns its share of the calls, compared with the others; 1 unless it says otherwise.
    pub fn weight(&self) -> u32 {
        let given = self
            .meta
            .get(Self::WEIGHT)
            .and_then(|text| text.parse().ok());
        given.map_or(1, |weight: u16| u32::from(weight.max(1)))
    }

    /// Returns which part of the network it is in, if it says so.
    pub fn zone(&self) -> Option<&str> {
        self.meta.get(Self::ZONE).map(String::as_str)
    }
}

/// One running instance of a service that is not ours, such as a node that runs models.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// Its unique id.
    pub id: InstanceId,
    /// Name or address of its host.
    pub host: String,
    /// Where it listens there.
    pub port: u16,
    /// What its owner says about it, for example `weight` and `zone`.
    pub meta: BTreeMap<String, String>,
}

/// The list of live instances, shared by all processes of a platform.
#[async_trait]
pub trait Registry: Send + Sync + 'static {
    /// Enters an instance until its lease ends.
    ///
    /// An entry with the same id is replaced.
    ///
    /// # Errors
    /// Fails when the registry can not be reached or refuses the entry.
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError>;

    /// Follows the live instances of a service, from now on.
    fn watch(&self, service: ServiceName) -> Watch;

    /// Follows the live instances of a service that is not ours, by its name.
    fn watch_foreign(&self, service: &str) -> Watch<Foreign>;

    /// Returns how long others may take to see that an instance left.
    fn notice(&self) -> Duration {
        NOTICE
    }

    /// Returns which part of the network this process is in, if it is known: calls stay in it where
    /// they can.
    fn zone(&self) -> Option<&str> {
        None
    }

    /// Returns the name of the implementation, for logs and diagnostics.
    fn kind(&self) -> &'static str;

    /// Asks the registry for something only a working one can answer, and returns what it said.
    ///
    /// # Errors
    /// Fails when it does not answer.
    async fn ping(&self) -> Result<String, RegistryError>;
}

/// The registration of one instance; it ends with [`Lease::close`].
#[must_use = "a dropped lease takes the instance out of the registry"]
pub struct Lease {
    id: InstanceId,
    closer: Option<Box<dyn LeaseCloser>>,
}

/// How a registry ends a registration.
#[async_trait]
pub trait LeaseCloser: Send + Sync + 'static {
    /// Takes the instance out; when this returns, nobody new finds it.
    async fn close(self: Box<Self>) -> Result<(), RegistryError>;

    /// Takes the instance out as well as can be done without waiting.
    fn abandon(self: Box<Self>);
}

impl Lease {
    /// Makes the lease of a registered instance.
    pub fn new(id: InstanceId, closer: impl LeaseCloser) -> Self {
        Self {
            id,
            closer: Some(Box::new(closer)),
        }
    }

    /// Takes the instance out of the registry.
    ///
    /// # Errors
    /// Fails when the registry can not be reached; it then removes the entry by its own rules.
    pub async fn close(mut self) -> Result<(), RegistryError> {
        match self.closer.take() {
            Some(closer) => closer.close().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(closer) = self.closer.take() {
            tracing::warn!(instance = %self.id, "lease dropped without closing it");
            closer.abandon();
        }
    }
}

/// The live instances of one service, kept up to date.
#[derive(Clone, Debug)]
pub struct Watch<T = Instance> {
    list: watch::Receiver<Arc<[T]>>,
    /// Whether the registry has said who is there.
    told: watch::Receiver<bool>,
}

impl<T> Watch<T> {
    /// Makes one from the channels that a registry feeds: the list, and whether it has been told
    /// for the first time.
    pub fn new(list: watch::Receiver<Arc<[T]>>, told: watch::Receiver<bool>) -> Self {
        Self { list, told }
    }

    /// Returns the instances known now; the last known ones when the registry is gone, and none
    /// before its first answer.
    pub fn current(&self) -> Arc<[T]> {
        Arc::clone(&self.list.borrow())
    }

    /// Returns the instances known now, after the registry's first answer if that comes in time.
    pub async fn known(&self, deadline: Deadline) -> Arc<[T]> {
        let mut told = self.told.clone();
        let first = async { told.wait_for(|told| *told).await.is_ok() };
        if deadline.run(first).await != Ok(true) {
            tracing::debug!("the registry has not said yet who is there");
        }
        self.current()
    }

    /// Waits until the instances differ from those this watch saw last.
    ///
    /// Returns `false` when the registry is gone and nothing will change any more.
    pub async fn changed(&mut self) -> bool {
        self.list.changed().await.is_ok()
    }
}

/// Why a registry did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It does not answer.
    #[error("the {kind} registry does not answer")]
    Unavailable {
        /// [`Registry::kind`].
        kind: &'static str,
        /// What was tried and failed.
        source: Box<dyn Error + Send + Sync>,
    },
    /// It answered, and refused.
    #[error("the {kind} registry refused: {rule}")]
    Refused {
        /// [`Registry::kind`].
        kind: &'static str,
        /// The rule that the request breaks.
        rule: String,
    },
}

impl Coded for RegistryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Refused { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Unavailable { .. } => "registry_unavailable",
            Self::Refused { .. } => "registry_refused",
        }
    }
}
