//! The registry of a platform that runs in one process.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Foreign, Instance, InstanceId, Lease, LeaseCloser, Registry, RegistryError, Watch};
use crate::catalog::ServiceName;

/// Keeps the instances of one process in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryRegistry {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Debug, Default)]
struct Entries {
    services: HashMap<ServiceName, watch::Sender<Arc<[Instance]>>>,
    foreign: HashMap<String, watch::Sender<Arc<[Foreign]>>>,
    /// Which registration an id belongs to, so that the lease of a replaced entry removes nothing.
    registrations: HashMap<InstanceId, u64>,
    last_registration: u64,
}

/// Holds no part of the registry alive: a watch learns that it is gone, leases or not.
struct Entry {
    entries: Weak<Mutex<Entries>>,
    id: InstanceId,
    registration: u64,
}

impl MemoryRegistry {
    /// Makes an empty registry; clones share it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says which instances a service that is not ours has; nobody else can enter them here.
    pub fn set_foreign(&self, service: &str, instances: Vec<Foreign>) {
        let mut entries = self.entries.lock();
        entries.foreign(service).send_replace(instances.into());
    }
}

impl Entries {
    fn foreign(&mut self, service: &str) -> &watch::Sender<Arc<[Foreign]>> {
        let services = &mut self.foreign;
        services
            .entry(service.to_owned())
            .or_insert_with(|| watch::Sender::new(Arc::default()))
    }

    fn sender(&mut self, service: ServiceName) -> &watch::Sender<Arc<[Instance]>> {
        self.services
            .entry(service)
            .or_insert_with(|| watch::Sender::new(Arc::default()))
    }

    fn insert(&mut self, instance: Instance) -> u64 {
        self.remove(&instance.id);
        self.last_registration += 1;
        self.registrations
            .insert(instance.id.clone(), self.last_registration);
        self.sender(instance.service).send_modify(|list| {
            *list = list.iter().cloned().chain([instance]).collect();
        });
        self.last_registration
    }

    fn remove(&mut self, id: &InstanceId) {
        if self.registrations.remove(id).is_none() {
            return;
        }
        for sender in self.services.values() {
            sender.send_if_modified(|list| {
                let kept: Arc<[Instance]> = list.iter().filter(|i| i.id != *id).cloned().collect();
                let changed = kept.len() != list.len();
                *list = kept;
                changed
            });
        }
    }
}

impl Entry {
    fn remove(&self) {
        let Some(entries) = self.entries.upgrade() else {
            return;
        };
        let mut entries = entries.lock();
        if entries.registrations.get(&self.id) == Some(&self.registration) {
            entries.remove(&self.id);
        }
    }
}

/// Makes a watch of a list that is known from the start.
fn known<T>(list: &watch::Sender<Arc<[T]>>) -> Watch<T> {
    Watch::new(list.subscribe(), watch::channel(true).1)
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        let id = instance.id.clone();
        let registration = self.entries.lock().insert(instance);
        tracing::info!(instance = %id, "instance registered");
        let entries = Arc::downgrade(&self.entries);
        Ok(Lease::new(
            id.clone(),
            Entry {
                entries,
                id,
                registration,
            },
        ))
    }

    fn watch(&self, service: ServiceName) -> Watch {
        known(self.entries.lock().sender(service))
    }

    /// Its watchers are told before it answers.
    fn notice(&self) -> Duration {
        Duration::ZERO
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        known(self.entries.lock().foreign(service))
    }

    fn kind(&self) -> &'static str {
        "memory"
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        Ok(format!(
            "{} instances registered in this process",
            self.entries.lock().registrations.len()
        ))
    }
}

#[async_trait]
impl LeaseCloser for Entry {
    async fn close(self: Box<Self>) -> Result<(), RegistryError> {
        self.remove();
        tracing::info!(instance = %self.id, "instance deregistered");
        Ok(())
    }

    fn abandon(self: Box<Self>) {
        self.remove();
    }
}
