//! What the services themselves know of their calls.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use sutazai_auth::Identity;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::platform::v1::{
    Breaker, BreakersRequest, diagnostics_client::DiagnosticsClient,
};
use sutazai_resilience::Deadline;
use system_tests::{
    Client,
    platform::{Platform, within},
};
use tonic::transport::Channel;

/// Longest wait for what a process says about itself.
const PATIENCE: Duration = Duration::from_secs(30);

/// The instances that call a service.
pub(super) struct Callers {
    operator: Identity,
    instances: Vec<(ServiceName, SocketAddr, DiagnosticsClient<Channel>)>,
    /// Breakers before the instances of that service.
    breakers: Vec<String>,
}

/// Calls by who made them and the breaker that counted them: how many were answered, and how many not.
pub(super) type Counts = BTreeMap<(SocketAddr, String), (u64, u64)>;

impl Callers {
    /// Looks up who calls `callee`, while the registry knows everybody.
    pub(super) async fn of(platform: &Platform, callee: ServiceName) -> Self {
        let description = platform.description();
        let key = description.keys.join(format!("{}.pem", ServiceName::Cli));
        let operator = Identity::from_files(ServiceName::Cli, &key, &description.jwks_file);
        let targets = platform.passing(callee.as_str()).await.expect("Consul");
        let breaker = |instance: &serde_json::Value| {
            let id = instance["Service"]["ID"].as_str().expect("an id");
            format!("grpc:{id}")
        };
        let services = sutazai_cli::configuration::SERVICES.into_iter();
        let callers = services.filter(|service| service.may_call(callee));
        let instances_of = |service: ServiceName| {
            let all = description.replicas[service.as_str()].clone().into_iter();
            all.map(move |at| (service, at.grpc, DiagnosticsClient::new(channel(at.grpc))))
        };
        Self {
            operator: operator.expect("the operator's key"),
            instances: callers.flat_map(instances_of).collect(),
            breakers: targets.iter().map(breaker).collect(),
        }
    }

    /// Waits until everybody who calls an instance has been answered by it.
    pub(super) async fn connected(&self) {
        within("every caller has every connection", async || {
            let counts = self.counts().await;
            let connected =
                !counts.is_empty() && counts.values().all(|(answered, _)| *answered > 0);
            connected.then_some(())
        })
        .await;
    }

    /// Asks every caller what became of its calls of each instance.
    pub(super) async fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for (service, address, client) in &self.instances {
            let deadline = Deadline::after(PATIENCE);
            let request = self
                .operator
                .request(*service, None, deadline, BreakersRequest {});
            let answer = client.clone().breakers(request.expect("a token")).await;
            let breakers = answer.expect("the breakers").into_inner().breakers;
            let known = breakers
                .into_iter()
                .filter(|one| self.breakers.contains(&one.name));
            let count = |one: Breaker| (one.successes, one.failures);
            counts.extend(known.map(|one| ((*address, one.name.clone()), count(one))));
        }
        counts
    }
}

/// A channel of a foreign client, to one instance.
#[expect(
    clippy::disallowed_methods,
    reason = "a foreign client, not one of the platform"
)]
fn channel(address: SocketAddr) -> Channel {
    let url = format!("http://{address}");
    Channel::from_shared(url).expect("a URL").connect_lazy()
}

/// Sums the calls between services that failed, by the labels of their counters, over all instances.
pub(super) async fn failed_calls(platform: &Platform) -> BTreeMap<String, u64> {
    let mut failed = BTreeMap::new();
    for at in platform.description().replicas.values().flatten() {
        let client = Client::new(&format!("http://{}", at.http), None);
        let metrics = client.get("/metrics").await.text;
        let calls = metrics
            .lines()
            .filter(|line| line.starts_with("mesh_calls_total{"));
        for line in calls.filter(|line| !line.contains(r#"outcome="ok""#)) {
            let (labels, count) = line.rsplit_once(' ').expect("a value");
            let count: u64 = count.parse().expect("a count");
            *failed.entry(labels.to_owned()).or_default() += count;
        }
    }
    failed
}
