//! The health status over gRPC (`grpc.health.v1`).

use std::sync::Arc;

use sutazai_mesh::catalog::ServiceName;
use tokio::sync::Mutex;
use tonic_health::{
    ServingStatus,
    pb::health_server::HealthServer,
    server::{HealthReporter, HealthService},
};

use crate::admin::Standing;

/// Keeps the status of every name equal to the readiness of the process.
#[derive(Clone)]
pub(crate) struct Health {
    names: Arc<[String]>,
    /// Locked while following, so that an older readiness never overwrites a younger one.
    reporter: Arc<Mutex<HealthReporter>>,
}

impl Health {
    /// Knows the empty name, the name of the service in the registry, and its gRPC services.
    pub(super) fn new(
        service: ServiceName,
        served: &[String],
    ) -> (Self, HealthServer<HealthService>) {
        let reporter = HealthReporter::new();
        let answers = HealthServer::new(HealthService::from_health_reporter(reporter.clone()));
        let own = [String::new(), service.to_string()];
        let health = Self {
            names: own.into_iter().chain(served.iter().cloned()).collect(),
            reporter: Arc::new(Mutex::new(reporter)),
        };
        (health, answers)
    }

    /// Tells every name how the process stands now.
    pub(crate) async fn follow(&self, standing: &Standing) {
        let reporter = self.reporter.lock().await;
        let status = if standing.is_ready() {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        for name in self.names.iter() {
            reporter.set_service_status(name, status).await;
        }
    }
}
