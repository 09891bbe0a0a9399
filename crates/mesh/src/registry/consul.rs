//! The registry of a platform of several processes: Consul.
//!
//! Nothing of Consul leaks from here: what it says becomes [`Instance`] and [`Foreign`].

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use sutazai_resilience::Breakers;
use tokio::{sync::watch, task::AbortHandle};

mod catalogue;
mod client;
mod endpoints;
mod entry;
mod keeper;
mod settings;
mod transport;
mod watcher;

pub use keeper::Registration;
pub use settings::{InvalidSettings, Settings};
pub use watcher::Progress;

use self::{
    client::Client,
    entry::Listed,
    keeper::Keeper,
    watcher::{Teller, Watcher},
};
use super::{Foreign, Instance, InstanceId, Lease, Registry, RegistryError, Watch};
use crate::catalog::ServiceName;

const KIND: &str = "consul";
/// Longest time that a start waits for its registration; it goes on in the background.
const REGISTER_PATIENCE: Duration = Duration::from_secs(2);

/// Enters instances into Consul and follows the services there.
pub struct ConsulRegistry {
    client: Arc<Client>,
    settings: Settings,
    feeds: Mutex<Feeds>,
    registrations: Mutex<HashMap<InstanceId, watch::Receiver<Registration>>>,
}

/// The watches of this process, one task each.
#[derive(Default)]
struct Feeds {
    ours: HashMap<ServiceName, Feed<Instance>>,
    foreign: HashMap<String, Feed<Foreign>>,
}

/// One watch: whoever asks for the same service shares it.
struct Feed<T> {
    list: watch::Receiver<Arc<[T]>>,
    told: watch::Receiver<bool>,
    progress: Arc<Mutex<Progress>>,
    task: AbortHandle,
}

impl ConsulRegistry {
    /// Makes the client; nothing is asked of Consul yet, and it need not be there.
    ///
    /// # Errors
    /// Fails when no request can be made with the settings.
    pub fn new(settings: Settings, breakers: &Breakers) -> Result<Self, InvalidSettings> {
        Ok(Self {
            client: Arc::new(Client::new(&settings, breakers)?),
            settings,
            feeds: Mutex::default(),
            registrations: Mutex::default(),
        })
    }

    /// Returns how far each watch is, by the name of its service.
    pub fn progress(&self) -> BTreeMap<String, Progress> {
        let feeds = self.feeds.lock();
        let ours = feeds.ours.iter();
        let ours = ours.map(|(service, feed)| (service.to_string(), feed.progress.lock().clone()));
        let foreign = feeds.foreign.iter();
        let foreign =
            foreign.map(|(service, feed)| (service.clone(), feed.progress.lock().clone()));
        ours.chain(foreign).collect()
    }

    /// Returns how each registration of this process stands.
    pub fn registrations(&self) -> BTreeMap<InstanceId, Registration> {
        let registrations = self.registrations.lock();
        let of = |(id, state): (&InstanceId, &watch::Receiver<Registration>)| {
            (id.clone(), state.borrow().clone())
        };
        registrations.iter().map(of).collect()
    }

    /// Lists every instance of a service that is entered, whatever its checks say.
    ///
    /// # Errors
    /// Consul does not answer, or refuses.
    pub async fn entered(&self, service: ServiceName) -> Result<Vec<Instance>, RegistryError> {
        let entries = self.client.entered(service.as_str()).await?;
        let entries = entries.iter();
        Ok(entries
            .filter_map(|entry| Instance::read(service.as_str(), entry))
            .collect())
    }

    /// Takes out an instance whose process is gone.
    ///
    /// # Errors
    /// Consul does not answer, or refuses: the token has to allow it.
    pub async fn take_out(&self, id: &InstanceId) -> Result<(), RegistryError> {
        self.client.deregister(id.as_str()).await
    }

    /// Returns the shared watch of a service, beginning it at first use.
    fn follow<K, T>(&self, feeds: &mut HashMap<K, Feed<T>>, key: K, service: &str) -> Watch<T>
    where
        K: Eq + Hash,
        T: Listed,
    {
        let feed = feeds.entry(key).or_insert_with(|| {
            let (list, seen) = watch::channel(Arc::default());
            let (first, told) = watch::channel(false);
            let progress = Arc::default();
            let watcher = Watcher::new(
                Arc::clone(&self.client),
                service,
                self.settings.doubt_empty_for,
                Teller { list, first },
                Arc::clone(&progress),
            );
            Feed {
                list: seen,
                told,
                progress,
                task: tokio::spawn(watcher.run()).abort_handle(),
            }
        });
        Watch::new(feed.list.clone(), feed.told.clone())
    }
}

#[async_trait]
impl Registry for ConsulRegistry {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        let id = instance.id.clone();
        let keeper = Keeper::new(Arc::clone(&self.client), self.settings.clone(), instance);
        let (closer, state) = keeper.start(REGISTER_PATIENCE).await?;
        self.registrations.lock().insert(id.clone(), state);
        Ok(Lease::new(id, closer))
    }

    fn watch(&self, service: ServiceName) -> Watch {
        let mut feeds = self.feeds.lock();
        self.follow(&mut feeds.ours, service, service.as_str())
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        let mut feeds = self.feeds.lock();
        self.follow(&mut feeds.foreign, service.to_owned(), service)
    }

    fn zone(&self) -> Option<&str> {
        self.settings.zone.as_deref()
    }

    fn kind(&self) -> &'static str {
        KIND
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        let leader = self.client.leader().await?;
        if leader.is_empty() {
            return Err(RegistryError::Unavailable {
                kind: KIND,
                source: "it has no leader".into(),
            });
        }
        let registrations = self.registrations();
        let entered = |state: &&Registration| **state == Registration::Entered;
        let mut parts = vec![
            format!("leader {leader}"),
            format!(
                "{} of {} registrations confirmed",
                registrations.values().filter(entered).count(),
                registrations.len()
            ),
        ];
        parts.extend(self.progress().iter().map(|(service, progress)| {
            let index = progress.index.unwrap_or_default();
            let age = progress.answered.map_or(0, |at| at.elapsed().as_secs());
            let instances = progress.instances;
            format!("{service}: {instances} at index {index}, {age} s ago")
        }));
        Ok(parts.join("; "))
    }
}

impl Drop for ConsulRegistry {
    /// Ends the watches: whoever holds one learns that nothing changes any more.
    fn drop(&mut self) {
        let feeds = self.feeds.get_mut();
        let ours = feeds.ours.values().map(|feed| &feed.task);
        let foreign = feeds.foreign.values().map(|feed| &feed.task);
        ours.chain(foreign).for_each(AbortHandle::abort);
    }
}

impl fmt::Debug for ConsulRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulRegistry")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
