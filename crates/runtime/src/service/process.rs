//! The story of a process: start, ready, work, stop.

use std::{sync::Arc, time::Duration};

use axum::Router;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, InstanceId, Registry},
};
use sutazai_telemetry::service_span;
use tokio::net::TcpListener;
use tracing::{Instrument, error};

use super::{Addresses, Builder, RunError, builder::Work, running::Running};
use crate::{admin::Standing, config::Base, grpc::Health, lifecycle::Shutdown, serve::Protocol};

/// A service with its sockets, ready to run.
pub struct Process {
    pub(super) base: Base,
    pub(super) addresses: Addresses,
    pub(super) instance: Instance,
    pub(super) registry: Arc<dyn Registry>,
    pub(super) standing: Arc<Standing>,
    pub(super) http: (TcpListener, Router),
    pub(super) grpc: (TcpListener, Router),
    pub(super) health: Health,
    pub(super) start_limit: Duration,
    pub(super) work: Work,
}

impl Process {
    /// Begins to describe the process of a service.
    pub fn builder(name: ServiceName, base: &Base) -> Builder {
        Builder::new(name, base)
    }

    /// Returns where it listens.
    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Returns the id under which it registers.
    pub fn instance_id(&self) -> &InstanceId {
        &self.instance.id
    }

    /// Serves and works until `shutdown` and the end of open work.
    ///
    /// It serves at once, becomes ready when its required parts work, registers, and only then
    /// begins its consumers and tasks. It stops in the opposite order; see the crate's README.
    ///
    /// # Errors
    ///
    /// Fails when it did not get ready, when a task died, or when it was aborted.
    pub async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let span = service_span(self.instance.service.as_str());
        Box::pin(self.story(shutdown)).instrument(span).await
    }

    async fn story(self, shutdown: Shutdown) -> Result<(), RunError> {
        let mut running = Running::new(self.standing, self.health, self.registry, self.base);
        // Whoever drops the process drops its connections too.
        let _last = running.ends.drop.clone().drop_guard();
        let service = self.instance.service;
        running.serve(self.http, Protocol::Http, service);
        running.serve(self.grpc, Protocol::Grpc, service);
        running.watch_health();
        let outcome = tokio::select! {
            biased;
            () = shutdown.draining() => Ok(()),
            fault = running.up(self.instance, self.work, self.start_limit) => Err(fault),
        };
        if let Err(error) = &outcome {
            error!(%error, "service stops because of a fault");
        }
        tokio::select! {
            biased;
            () = shutdown.aborted() => Err(RunError::Aborted),
            () = running.down() => outcome,
        }
    }
}
