//! `/api/v1/system`: how the platform stands.

use std::{collections::BTreeMap, time::Instant};

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use sutazai_auth::http::Authenticated;
use sutazai_runtime::{config::Profile, probe::Outcome};
use utoipa::ToSchema;

use super::time::instant;
use crate::system::{InstanceStatus, ServiceStatus, Status, System};

/// What the handler needs.
#[derive(Clone)]
pub(crate) struct Access {
    pub(super) system: System,
    pub(super) facts: Facts,
}

/// What does not change while the process lives.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) version: &'static str,
    pub(crate) profile: Profile,
    pub(crate) instance_id: String,
    pub(crate) started_at: DateTime<Utc>,
    /// The same moment by the clock that only counts.
    pub(crate) started: Instant,
}

/// How the platform stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SystemStatus {
    /// `ok` when every part works and every service is ready, else `degraded`.
    status: &'static str,
    /// Version of the running platform.
    version: &'static str,
    /// `dev` or `production`.
    profile: &'static str,
    /// The instance of the backend that answers.
    instance_id: String,
    started_at: DateTime<Utc>,
    uptime_seconds: u64,
    /// Parts that the backend uses, each probed for this answer.
    dependencies: Vec<DependencyItem>,
    registry: RegistryItem,
    resources: ResourceItem,
}

/// A part and what the probe saw.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DependencyItem {
    name: &'static str,
    ok: bool,
    /// What was seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<String>,
    /// Why it failed and the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
    duration_ms: f64,
    /// Totals that show real work through the part.
    counters: BTreeMap<String, u64>,
}

/// The registry and what it lists.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RegistryItem {
    /// Kind of the registry.
    kind: &'static str,
    services: Vec<ServiceItem>,
}

/// A service and its instances.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ServiceItem {
    name: &'static str,
    instances: Vec<InstanceItem>,
}

/// A registered instance.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct InstanceItem {
    id: String,
    version: String,
    /// gRPC address.
    grpc: String,
    /// HTTP address, if it serves HTTP.
    http: Option<String>,
    /// Whether it takes work; false when it does not answer.
    ready: bool,
    started_at: Option<DateTime<Utc>>,
    /// Why it did not describe itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// What the process of the backend takes; null where the system does not tell.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResourceItem {
    /// Memory in use (resident set).
    memory_bytes: Option<u64>,
    threads: Option<u64>,
    /// Processor time since the start.
    cpu_seconds: Option<f64>,
    /// Open files and sockets.
    open_files: Option<usize>,
    database_connections: PoolItem,
}

/// The database connections of the backend.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PoolItem {
    open: u32,
    in_use: u32,
    max: u32,
}

/// Reports versions, uptime, dependencies, the registry and resources, all looked at now.
#[utoipa::path(
    get,
    path = "/api/v1/system/status",
    operation_id = "get_system_status",
    tag = "system",
    responses((status = 200, description = "How the platform stands", body = SystemStatus)),
)]
pub(super) async fn status(
    State(access): State<Access>,
    Authenticated(principal): Authenticated,
) -> axum::Json<SystemStatus> {
    let status = access.system.look(&principal).await;
    axum::Json(SystemStatus::of(access.facts, status))
}

impl SystemStatus {
    fn of(facts: Facts, status: Status) -> Self {
        Self {
            status: if status.is_whole() { "ok" } else { "degraded" },
            version: facts.version,
            profile: facts.profile.as_str(),
            instance_id: facts.instance_id,
            started_at: facts.started_at,
            uptime_seconds: facts.started.elapsed().as_secs(),
            dependencies: status
                .dependencies
                .into_iter()
                .map(DependencyItem::from)
                .collect(),
            registry: RegistryItem {
                kind: status.registry,
                services: status.services.into_iter().map(ServiceItem::from).collect(),
            },
            resources: ResourceItem {
                memory_bytes: status.resources.memory_bytes,
                threads: status.resources.threads,
                cpu_seconds: status.resources.cpu_seconds,
                open_files: status.resources.open_files,
                database_connections: PoolItem {
                    open: status.pool.size,
                    in_use: status.pool.in_use,
                    max: status.pool.max,
                },
            },
        }
    }
}

impl From<Outcome> for DependencyItem {
    fn from(outcome: Outcome) -> Self {
        let (ok, evidence, cause, counters) = match outcome.result {
            Ok(evidence) => (true, Some(evidence.text), None, evidence.counters),
            Err(failure) => (false, None, Some(failure.cause), BTreeMap::new()),
        };
        Self {
            name: outcome.health_key,
            ok,
            evidence,
            cause,
            duration_ms: outcome.took.as_secs_f64() * 1000.0,
            counters,
        }
    }
}

impl From<ServiceStatus> for ServiceItem {
    fn from(service: ServiceStatus) -> Self {
        let instances = service
            .instances
            .into_iter()
            .map(InstanceItem::from)
            .collect();
        Self {
            name: service.name.as_str(),
            instances,
        }
    }
}

impl From<InstanceStatus> for InstanceItem {
    fn from(status: InstanceStatus) -> Self {
        let error = status.fault();
        let description = status.description.ok();
        let instance = status.instance;
        Self {
            id: instance.id.to_string(),
            version: instance.version,
            grpc: instance.grpc.to_string(),
            http: instance.http.map(|address| address.to_string()),
            ready: description.as_ref().is_some_and(|said| said.ready),
            started_at: description.and_then(|said| instant(said.started_at)),
            error,
        }
    }
}
