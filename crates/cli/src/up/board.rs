//! What is known of the running platform, kept in its description for everybody else.

use std::{path::PathBuf, sync::Arc};

use parking_lot::Mutex;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, Registry},
};
use sutazai_proto::status::chain;
use sutazai_runtime::service::Addresses;

use crate::{
    configuration::SERVICES,
    site::{
        Description,
        description::{Process, State},
    },
};

/// The description, written anew at each change; clones share it.
#[derive(Clone)]
pub(super) struct Board {
    description: Arc<Mutex<Description>>,
    file: PathBuf,
}

impl Board {
    pub(super) fn new(description: Description, file: PathBuf) -> Self {
        Self {
            description: Arc::new(Mutex::new(description)),
            file,
        }
    }

    pub(super) fn description(&self) -> Description {
        self.description.lock().clone()
    }

    pub(super) fn runs(&self, name: &str, pid: u32) {
        self.change(|description| {
            let known = description.processes.get(name);
            let process = Process::running(pid, known.map_or(0, |process| process.restarts));
            description.processes.insert(name.to_owned(), process);
            if name == super::POSTGRES {
                description.postgres_pid = pid;
            }
        });
    }

    pub(super) fn restarts(&self, name: &str) {
        self.change(|description| {
            if let Some(process) = description.processes.get_mut(name) {
                process.state = State::Restarting;
                process.restarts += 1;
            }
        });
    }

    pub(super) fn stopped(&self, name: &str) {
        self.change(|description| {
            description.processes.remove(name);
        });
    }

    /// Keeps the addresses of the services as the registry knows them.
    pub(super) async fn follow(self, registry: Arc<dyn Registry>) {
        let mut watches = SERVICES.map(|name| registry.watch(name));
        loop {
            self.locate(&*registry);
            let changes = watches.iter_mut().map(|watch| Box::pin(watch.changed()));
            let (alive, ..) = futures::future::select_all(changes).await;
            if !alive {
                return;
            }
        }
    }

    /// Writes down where the services are now.
    pub(super) fn locate(&self, registry: &dyn Registry) {
        let instances = instances(registry);
        self.change(|description| *description = description.clone().with_services(instances));
    }

    fn change(&self, change: impl FnOnce(&mut Description)) {
        let mut description = self.description.lock();
        change(&mut description);
        if let Err(error) = description.write(&self.file) {
            tracing::warn!(error = chain(&error), "the description is out of date");
        }
    }
}

fn instances(registry: &dyn Registry) -> Vec<(ServiceName, Addresses)> {
    let address = |instance: &Instance| {
        let http = instance.http?;
        let grpc = instance.grpc;
        Some((instance.service, Addresses { http, grpc }))
    };
    SERVICES
        .iter()
        .flat_map(|name| {
            registry
                .watch(*name)
                .current()
                .iter()
                .filter_map(address)
                .collect::<Vec<_>>()
        })
        .collect()
}
