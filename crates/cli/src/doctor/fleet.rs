//! Every instance of every service, and what it says about itself over gRPC.

use std::collections::BTreeMap;

use futures::future::join_all;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, InstanceId},
};
use sutazai_proto::platform::v1::{Breaker, Counter, ProbeResult};

use super::{operator::Operator, report::Row, traffic::Tally};
use crate::{
    configuration::SERVICES,
    site::{Description, description::ServiceAddresses},
};

/// Instances by service.
pub(super) type Roster = BTreeMap<ServiceName, Vec<Instance>>;

/// Everything the instances said.
pub(super) struct Fleet {
    pub(super) operator: Operator,
    pub(super) instances: Vec<Seen>,
    /// How many processes of each service there should be.
    wanted: BTreeMap<ServiceName, usize>,
    /// Whether all services share one process, and with it their counters.
    one_process: bool,
}

/// An instance that was asked.
pub(super) struct Seen {
    /// The name of its row: the service's own where it is the only one.
    pub(super) name: String,
    pub(super) instance: Instance,
    pub(super) view: Result<View, String>,
}

/// What an instance said before anything was probed, and what its probes saw.
pub(super) struct View {
    pub(super) id: String,
    pub(super) ready: bool,
    pub(super) counters: Vec<Counter>,
    pub(super) breakers: Vec<Breaker>,
    pub(super) probes: Vec<ProbeResult>,
    evidence: String,
}

impl Fleet {
    /// Asks all instances at once, then has all of them probe their parts.
    pub(super) async fn look(
        operator: Operator,
        roster: Roster,
        description: &Description,
    ) -> Self {
        let asked = roster.into_values().flatten().map(async |instance| {
            let view = view(&operator, &instance).await;
            (instance, view)
        });
        let asked = join_all(asked).await;
        // Only now: what probes send must not be in anybody's counters yet.
        let probed = asked.into_iter().map(async |(instance, view)| {
            let view = match view {
                Ok(view) => probed(&operator, &instance, view).await,
                Err(cause) => Err(cause),
            };
            let name = instance.service.to_string();
            Seen {
                name,
                instance,
                view,
            }
        });
        let mut fleet = Self {
            instances: join_all(probed).await,
            operator,
            wanted: SERVICES
                .into_iter()
                .map(|service| (service, processes(description, service)))
                .collect(),
            one_process: description.servers.is_none(),
        };
        for service in SERVICES {
            fleet.settle(service);
        }
        fleet
    }

    /// Drops entries that processes left behind, and tells apart those of several instances.
    fn settle(&mut self, service: ServiceName) {
        let wanted = self.wanted(service);
        let mut surplus = self.of(service).count().saturating_sub(wanted);
        self.instances.retain(|seen| {
            let is_left = surplus > 0 && seen.instance.service == service && seen.view.is_err();
            surplus -= usize::from(is_left);
            !is_left
        });
        if wanted.max(self.of(service).count()) > 1 {
            let own = self.instances.iter_mut();
            for seen in own.filter(|seen| seen.instance.service == service) {
                seen.name = format!("{service}@{}", seen.instance.grpc);
            }
        }
    }

    /// Returns the instances of a service.
    pub(super) fn of(&self, service: ServiceName) -> impl Iterator<Item = &Seen> {
        let all = self.instances.iter();
        all.filter(move |seen| seen.instance.service == service)
    }

    /// Returns the instances that answered, each with what it said.
    pub(super) fn views(&self) -> impl Iterator<Item = (&Seen, &View)> {
        let all = self.instances.iter();
        all.filter_map(|seen| Some((seen, seen.view.as_ref().ok()?)))
    }

    /// Returns the counters of the whole platform.
    pub(super) fn tally(&self) -> Tally<'_> {
        let processes = if self.one_process { 1 } else { usize::MAX };
        let views = self.views().take(processes);
        Tally(views.flat_map(|(_, view)| &view.counters).collect())
    }

    /// Judges the instances of a service, and where there are several, whether all are registered.
    pub(super) fn rows(&self, service: ServiceName) -> Vec<Row> {
        let name = service.as_str();
        let (wanted, found) = (self.wanted(service), self.of(service).count());
        let rows: Vec<Row> = self.of(service).map(Seen::row).collect();
        if found == 0 {
            return vec![Row::bad(name, "no instance of it is registered")];
        }
        if wanted.max(found) == 1 {
            return rows;
        }
        let views: Vec<&View> = self
            .of(service)
            .filter_map(|seen| seen.view.as_ref().ok())
            .collect();
        let counters = views.iter().flat_map(|view| &view.counters);
        let traffic = Tally(counters.collect()).of_service(service);
        let whole = match views.len() {
            0 => Row::bad(name, format!("none of its {found} instances answers")),
            _ if found < wanted => Row::bad(
                name,
                format!("{wanted} processes of it run, and {found} of them are registered"),
            ),
            answering => Row::good(name, format!("{answering} of {found} instances answer")),
        };
        [whole.carrying(traffic)].into_iter().chain(rows).collect()
    }

    fn wanted(&self, service: ServiceName) -> usize {
        self.wanted.get(&service).copied().unwrap_or(1)
    }
}

impl Seen {
    /// Judges one instance: it answers, and if it takes no work, some part explains why.
    fn row(&self) -> Row {
        let view = match &self.view {
            Ok(view) => view,
            Err(cause) => return Row::bad(&self.name, cause),
        };
        if !view.ready && view.probes.iter().all(|probe| probe.ok) {
            let cause = "answers, but does not take work, and names no broken part";
            return Row::bad(&self.name, cause);
        }
        let tally = Tally(view.counters.iter().collect());
        Row::good(&self.name, &view.evidence).carrying(tally.of_service(self.instance.service))
    }
}

/// Lists where the platform says that its instances are.
pub(super) fn described(description: &Description) -> Roster {
    let all = |service: ServiceName| -> Vec<ServiceAddresses> {
        let replicas = description.replicas.get(service.as_str());
        let only = || description.services.get(service.as_str());
        match replicas {
            Some(replicas) => replicas.clone(),
            None => only().into_iter().copied().collect(),
        }
    };
    let instance = |service: ServiceName, at: ServiceAddresses| Instance {
        id: InstanceId::new(format!("{service}@{}", at.grpc)),
        service,
        grpc: at.grpc,
        http: Some(at.http),
        version: description.version.clone(),
        meta: BTreeMap::new(),
    };
    let roster = SERVICES.into_iter().map(|service| {
        let all = all(service).into_iter();
        (service, all.map(|at| instance(service, at)).collect())
    });
    roster.collect()
}

/// Counts the processes of a service that are kept running.
fn processes(description: &Description, service: ServiceName) -> usize {
    let own = description.processes.keys().filter(|name| {
        let replica = name.strip_prefix(service.as_str());
        replica.is_some_and(|rest| rest.is_empty() || is_replica(rest))
    });
    own.count().max(1)
}

/// Says whether this is the end of the name of a further instance: `-2`.
fn is_replica(rest: &str) -> bool {
    let number = rest.strip_prefix('-');
    number.is_some_and(|number| number.parse::<u16>().is_ok())
}

async fn view(operator: &Operator, instance: &Instance) -> Result<View, String> {
    let serving = operator.serves(instance).await?;
    let process = operator.describe(instance).await?;
    let state = if serving { "serving" } else { "not serving" };
    Ok(View {
        evidence: format!(
            "{state} as {} {} on {}",
            process.instance_id, process.version, process.grpc_address
        ),
        id: process.instance_id,
        ready: process.ready,
        counters: operator.counters(instance).await?,
        breakers: operator.breakers(instance).await?,
        probes: Vec::new(),
    })
}

async fn probed(operator: &Operator, instance: &Instance, mut view: View) -> Result<View, String> {
    view.probes = operator.probe_all(instance).await?;
    Ok(view)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_told_from_other_services_by_their_number() {
        assert!(is_replica("-2") && is_replica("-10"));
        assert!(!is_replica("-agent") && !is_replica("2") && !is_replica("-"));
    }
}
