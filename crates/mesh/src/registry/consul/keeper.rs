//! Keeps one instance entered: an agent that lost its state, or was away, gets the entry again.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use metrics::histogram;
use sutazai_resilience::backoff::Backoff;
use sutazai_telemetry::names;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, timeout},
};

use super::{KIND, Settings, client::Client, entry};
use crate::registry::{Instance, LeaseCloser, RegistryError};

/// Pause after a failed try; an agent that comes back has the entry long before 15 s are over.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(250),
    max: Duration::from_secs(3),
};

/// How the registration of an instance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Registration {
    /// Consul did not take it yet.
    Pending,
    /// Consul has it.
    Entered,
    /// Consul had it, and does not answer now.
    Unconfirmed,
    /// Consul refuses it.
    Refused(String),
    /// Another process registered under the same id; this one gave way.
    Replaced,
    /// It was taken out.
    Left,
}

/// Who wants to know how taking the entry out went.
type Leaving = oneshot::Sender<Result<(), RegistryError>>;

/// The task that keeps an instance entered until it is told to stop.
pub(super) struct Keeper {
    client: Arc<Client>,
    settings: Settings,
    instance: Instance,
    /// Text in the entry that no other registration has.
    mark: String,
    state: watch::Sender<Registration>,
}

/// Ends the task.
pub(super) struct Closer {
    leave: oneshot::Sender<Leaving>,
}

impl Keeper {
    pub(super) fn new(client: Arc<Client>, settings: Settings, instance: Instance) -> Self {
        Self {
            client,
            settings,
            instance,
            mark: format!("{:016x}", rand::random::<u64>()),
            state: watch::Sender::new(Registration::Pending),
        }
    }

    /// Enters the instance, and keeps it entered in the background.
    ///
    /// A Consul that does not answer is no failure: it is tried again.
    ///
    /// # Errors
    /// Fails when Consul refuses the entry.
    pub(super) async fn start(
        self,
        patience: Duration,
    ) -> Result<(Closer, watch::Receiver<Registration>), RegistryError> {
        let failures = match timeout(patience, self.enter()).await {
            Ok(Err(refused @ RegistryError::Refused { .. })) => return Err(refused),
            Ok(Ok(())) => 0,
            Ok(Err(error)) => self.pending(&error),
            Err(elapsed) => self.pending(&elapsed),
        };
        let state = self.state.subscribe();
        let (leave, told) = oneshot::channel();
        tokio::spawn(self.run(told, failures));
        Ok((Closer { leave }, state))
    }

    async fn run(self, mut told: oneshot::Receiver<Leaving>, mut failures: u32) {
        loop {
            let pause = match failures {
                0 => self.settings.reconcile_every,
                failures => RETRY.delay(failures, &mut rand::rng()),
            };
            tokio::select! {
                leaving = &mut told => {
                    let result = self.leave().await;
                    if let Ok(leaving) = leaving {
                        let _ = leaving.send(result);
                    }
                    return;
                }
                () = tokio::time::sleep(pause) => {}
            }
            failures = match self.reconcile().await {
                Ok(()) => 0,
                Err(error) => {
                    self.failed(&error, failures == 0);
                    failures.saturating_add(1)
                }
            };
        }
    }

    /// Looks at the entry, and writes it again where it is not.
    async fn reconcile(&self) -> Result<(), RegistryError> {
        if *self.state.borrow() == Registration::Replaced {
            return Ok(());
        }
        let found = self.client.entry(self.instance.id.as_str()).await?;
        match found {
            None => {
                if *self.state.borrow() != Registration::Pending {
                    tracing::warn!(instance = %self.instance.id, "consul lost the entry of this instance");
                }
                self.enter().await?;
            }
            Some(found) => {
                if entry::registration_of(found.meta.as_ref()) == Some(&self.mark) {
                    self.now(Registration::Entered);
                } else if *self.state.borrow() == Registration::Pending {
                    // Left by an earlier process of this id: ours is the later one.
                    self.enter().await?;
                } else {
                    tracing::error!(instance = %self.instance.id, "another process registered under this id; this one is no longer found");
                    self.now(Registration::Replaced);
                    return Ok(());
                }
            }
        }
        match entry::ttl_check(&self.instance) {
            Some(check) => self.client.alive(&check).await,
            None => Ok(()),
        }
    }

    async fn enter(&self) -> Result<(), RegistryError> {
        let request = entry::registration(&self.instance, &self.mark, &self.settings);
        let began = Instant::now();
        self.client.register(request).await?;
        histogram!(names::REGISTRY_REGISTRATION_SECONDS, "registry" => KIND)
            .record(began.elapsed().as_secs_f64());
        tracing::info!(instance = %self.instance.id, "instance registered");
        self.now(Registration::Entered);
        Ok(())
    }

    /// Takes the entry out, unless it is another registration's.
    async fn leave(&self) -> Result<(), RegistryError> {
        let id = self.instance.id.as_str();
        let found = self.client.entry(id).await?;
        let ours = found
            .is_some_and(|found| entry::registration_of(found.meta.as_ref()) == Some(&self.mark));
        if ours {
            self.client.deregister(id).await?;
            tracing::info!(instance = %self.instance.id, "instance deregistered");
        }
        self.now(Registration::Left);
        Ok(())
    }

    /// Says why the first try failed, and returns how many did.
    fn pending(&self, error: &(dyn std::error::Error + 'static)) -> u32 {
        tracing::warn!(
            instance = %self.instance.id,
            error,
            "consul does not take the registration now; it is tried again in the background"
        );
        1
    }

    fn failed(&self, error: &RegistryError, first: bool) {
        if first {
            tracing::warn!(instance = %self.instance.id, error = error as &dyn std::error::Error, "the registration can not be confirmed");
        }
        let now = match (error, &*self.state.borrow()) {
            (RegistryError::Refused { rule, .. }, _) => Registration::Refused(rule.clone()),
            (_, Registration::Entered) => Registration::Unconfirmed,
            (_, same) => same.clone(),
        };
        self.now(now);
    }

    fn now(&self, state: Registration) {
        self.state.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}

#[async_trait]
impl LeaseCloser for Closer {
    async fn close(self: Box<Self>) -> Result<(), RegistryError> {
        let (leaving, left) = oneshot::channel();
        if self.leave.send(leaving).is_err() {
            return Ok(());
        }
        // An error means that the runtime ends, and the task with it.
        left.await.unwrap_or(Ok(()))
    }

    /// The task sees that nobody holds the lease.
    fn abandon(self: Box<Self>) {}
}
