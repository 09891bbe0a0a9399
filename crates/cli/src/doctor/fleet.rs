//! What the processes say about themselves and their parts, over gRPC.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sutazai_auth::identity::Identity;
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
    registry::{Instance, InstanceId, memory::MemoryRegistry},
};
use sutazai_proto::platform::v1::{
    CountersRequest, DescribeRequest, ProbeRequest, ProbeResult,
    diagnostics_client::DiagnosticsClient,
};
use sutazai_resilience::{Breakers, Deadline};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::{Error, report::Row};
use crate::site::Description;

/// The processes, in the order of the report.
pub(super) const SERVICES: [ServiceName; 5] = [
    ServiceName::Backend,
    ServiceName::TaskCoordinator,
    ServiceName::AgentOrchestrator,
    ServiceName::OllamaProxy,
    ServiceName::AutomationAgent,
];
/// Longest time for what a process says about itself.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest time for one token of a model, which may have to be loaded first.
const NODE_PATIENCE: Duration = Duration::from_secs(150);

/// Everything the processes said.
pub(super) struct Fleet {
    operator: Operator,
    views: BTreeMap<ServiceName, Result<View, String>>,
}

/// What one process said.
struct View {
    evidence: String,
    ready: bool,
    probes: Vec<ProbeResult>,
    totals: BTreeMap<String, u64>,
}

/// The operator's way to the processes: the platform's own mesh, with an identity of its own.
struct Operator {
    mesh: Mesh,
    identity: Identity,
    instances: BTreeMap<ServiceName, Instance>,
}

impl Fleet {
    /// Asks all processes at once.
    pub(super) async fn look(description: &Description) -> Result<Self, Error> {
        let operator = Operator::new(description)?;
        let views = SERVICES.map(async |name| (name, operator.view(name).await));
        let views = futures::future::join_all(views).await.into_iter().collect();
        Ok(Self { operator, views })
    }

    /// Judges one process: it answers, and if it takes no work, some part explains why.
    pub(super) fn service_row(&self, name: ServiceName) -> Row {
        match self.views.get(&name) {
            Some(Ok(view)) if view.ready || view.probes.iter().any(|probe| !probe.ok) => {
                Row::good(name.as_str(), &view.evidence).counting(view.total("mesh_calls_total"))
            }
            Some(Ok(_)) => Row::bad(
                name.as_str(),
                "answers, but does not take work, and names no broken part",
            ),
            Some(Err(cause)) => Row::bad(name.as_str(), cause),
            None => Row::bad(name.as_str(), "not part of this platform"),
        }
    }

    /// Judges a part by all processes that use it; each of them probes it with its own connections.
    pub(super) fn part_row(&self, part: &str, total: &str) -> Row {
        let mut seen = Vec::new();
        let mut causes = Vec::new();
        let mut counters = BTreeMap::new();
        for (name, view) in self
            .views
            .iter()
            .filter_map(|(name, view)| Some((name, view.as_ref().ok()?)))
        {
            for probe in view.probes.iter().filter(|probe| probe.part == part) {
                counters.extend(view.total(total));
                if probe.ok {
                    seen.push((name.as_str(), &probe.evidence));
                } else {
                    causes.push(format!("{name}: {}", probe.cause));
                }
            }
        }
        let row = match (seen.as_slice(), causes.as_slice()) {
            ([(name, evidence)], []) => Row::good(part, format!("{name}: {evidence}")),
            ([(name, evidence), others @ ..], []) => {
                let others: Vec<&str> = others.iter().map(|(name, _)| *name).collect();
                Row::good(
                    part,
                    format!("{name}: {evidence}; works for {} too", others.join(", ")),
                )
            }
            ([], []) => Row {
                ok: None,
                ..Row::bad(part, "not judged: no process that uses it answers")
            },
            (_, causes) => Row::bad(part, causes.join("; ")),
        };
        row.counting(counters)
    }

    /// Judges the model nodes by a chat of one token.
    pub(super) async fn node_row(&self) -> Row {
        let name = ServiceName::OllamaProxy;
        match self.operator.probe(name, "node", NODE_PATIENCE).await {
            Ok(results) => match results.into_iter().find(|probe| probe.part == "node") {
                Some(probe) if probe.ok => {
                    Row::good("node", probe.evidence).counting(probe.counters)
                }
                Some(probe) => Row::bad("node", probe.cause),
                None => Row::bad("node", format!("{name} has no probe of its nodes")),
            },
            Err(cause) => Row::bad("node", cause),
        }
    }
}

impl View {
    fn total(&self, name: &str) -> Option<(String, u64)> {
        self.totals
            .get_key_value(name)
            .map(|(name, total)| (name.clone(), *total))
    }
}

impl Operator {
    fn new(description: &Description) -> Result<Self, Error> {
        let service = ServiceName::Cli;
        let key = description.keys.join(format!("{service}.pem"));
        let identity = Identity::from_files(service, &key, &description.jwks_file)?;
        let registry = Arc::new(MemoryRegistry::new());
        let instances = SERVICES.into_iter().filter_map(|name| {
            let at = description.services.get(name.as_str())?;
            let instance = Instance {
                id: InstanceId::new(name.as_str()),
                service: name,
                grpc: at.grpc,
                http: Some(at.http),
                version: description.version.clone(),
                meta: BTreeMap::new(),
            };
            Some((name, instance))
        });
        let instances = instances.collect();
        Ok(Self {
            mesh: Mesh::new(service, registry, Breakers::new()),
            identity,
            instances,
        })
    }

    async fn view(&self, name: ServiceName) -> Result<View, String> {
        let edge = self.edge(name)?;
        let deadline = Deadline::after(PATIENCE);
        let mut health = HealthClient::new(edge.clone());
        let check = HealthCheckRequest {
            service: name.as_str().to_owned(),
        };
        let check = self
            .identity
            .request(name, None, deadline, check)
            .map_err(text)?;
        let status = health
            .check(check)
            .await
            .map_err(status_text)?
            .into_inner()
            .status();

        let mut diagnostics = DiagnosticsClient::new(edge);
        let describe = self
            .identity
            .request(name, None, deadline, DescribeRequest {})
            .map_err(text)?;
        let process = diagnostics
            .describe(describe)
            .await
            .map_err(status_text)?
            .into_inner();
        let counters = self
            .identity
            .request(name, None, deadline, CountersRequest {})
            .map_err(text)?;
        let counters = diagnostics
            .counters(counters)
            .await
            .map_err(status_text)?
            .into_inner();
        let probes = self.probe(name, "", PATIENCE).await?;
        let state = if status == ServingStatus::Serving {
            "serving"
        } else {
            "not serving"
        };
        Ok(View {
            evidence: format!(
                "{state} as {} {} on {}",
                process.instance_id, process.version, process.grpc_address
            ),
            ready: process.ready,
            probes,
            totals: counters
                .totals
                .into_iter()
                .map(|(name, total)| (name, whole(total)))
                .collect(),
        })
    }

    async fn probe(
        &self,
        name: ServiceName,
        part: &str,
        limit: Duration,
    ) -> Result<Vec<ProbeResult>, String> {
        let request = ProbeRequest {
            part: part.to_owned(),
        };
        let request = self
            .identity
            .request(name, None, Deadline::after(limit), request)
            .map_err(text)?;
        let mut diagnostics = DiagnosticsClient::new(self.edge(name)?);
        Ok(diagnostics
            .probe(request)
            .await
            .map_err(status_text)?
            .into_inner()
            .results)
    }

    fn edge(&self, name: ServiceName) -> Result<Edge, String> {
        let instance = self
            .instances
            .get(&name)
            .ok_or_else(|| format!("{name} is not part of this platform"))?;
        Ok(self.mesh.instance(instance))
    }
}

/// Totals are whole numbers that a metric keeps as a float.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "totals are small and never negative"
)]
fn whole(total: f64) -> u64 {
    total.round() as u64
}

fn text(error: impl std::error::Error) -> String {
    sutazai_proto::status::chain(&error)
}

fn status_text(status: tonic::Status) -> String {
    let error = sutazai_proto::RemoteError::from(status);
    format!("{} ({})", error, sutazai_proto::Coded::reason(&error))
}
