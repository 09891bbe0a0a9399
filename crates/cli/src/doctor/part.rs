//! The parts that several services use; each of them probes it with its own connections.

use sutazai_proto::platform::v1::ProbeResult;

use super::{
    breaker::{self, Guarded},
    fleet::{Fleet, Seen, View},
    report::Row,
    traffic::{Tally, Traffic},
};
use crate::site::Description;

/// Names of the probes.
const POSTGRES: &str = "postgres";
const BROKER: &str = "broker";
const REGISTRY: &str = "registry";
const REDIS: &str = "redis";

/// A part, by the name of its probes and by what stands there.
#[derive(Clone, Copy)]
pub(super) struct Part {
    /// Name of the probes of the services.
    pub(super) probe: &'static str,
    /// Name of the row: what stands there.
    pub(super) name: &'static str,
    /// Whether the services' own process does the work of a server.
    in_process: bool,
}

/// The shared parts of one platform.
pub(super) struct Parts {
    pub(super) postgres: Part,
    pub(super) broker: Part,
    pub(super) registry: Part,
    pub(super) redis: Part,
}

impl Parts {
    /// Names the servers of a platform of many processes, and the parts of one in one process.
    pub(super) fn of(description: &Description) -> Self {
        let real = description.servers.is_some();
        let part = |probe, name, in_process| Part {
            probe,
            name,
            in_process,
        };
        let (broker, registry) = if real {
            ("rabbitmq", "consul")
        } else {
            (BROKER, REGISTRY)
        };
        Self {
            postgres: part(POSTGRES, POSTGRES, false),
            broker: part(BROKER, broker, !real),
            registry: part(REGISTRY, registry, !real),
            redis: part(REDIS, REDIS, false),
        }
    }

    /// Returns the row of the part with these probes.
    pub(super) fn row_of(&self, probe: &str) -> Option<&'static str> {
        let all = [self.postgres, self.broker, self.registry, self.redis];
        let found = all.into_iter().find(|part| part.probe == probe);
        found.map(|part| part.name)
    }
}

impl Part {
    /// Judges the part by all instances that use it.
    pub(super) fn row(&self, fleet: &Fleet) -> Row {
        let probes: Vec<_> = self.probes(fleet).collect();
        let (well, unwell): (Vec<_>, Vec<_>) = probes.iter().partition(|(_, probe)| probe.ok);
        let causes: Vec<String> = unwell
            .iter()
            .map(|(seen, probe)| format!("{}: {}", seen.name, probe.cause))
            .collect();
        let row = match (well.as_slice(), causes.as_slice()) {
            ([], []) => Row::not_judged(self.name, "not judged: no process that uses it can tell"),
            ([(seen, probe), others @ ..], []) => {
                let place = if self.in_process {
                    "in this process; "
                } else {
                    ""
                };
                let also = match others.len() {
                    0 => String::new(),
                    some => format!("; works for {some} more"),
                };
                Row::good(
                    self.name,
                    format!("{place}{}: {}{also}", seen.name, probe.evidence),
                )
            }
            (_, causes) => Row::bad(self.name, causes.join("; ")),
        };
        row.carrying(self.traffic(&fleet.tally()))
    }

    fn traffic(&self, tally: &Tally<'_>) -> Traffic {
        match self.probe {
            POSTGRES => tally.of_postgres(),
            BROKER => tally.of_broker(),
            REGISTRY => tally.of_registry(),
            _ => tally.of_redis(),
        }
    }

    /// Returns what the instances saw whose view of the part nothing else blocks.
    pub(super) fn probes<'a>(
        &self,
        fleet: &'a Fleet,
    ) -> impl Iterator<Item = (&'a Seen, &'a ProbeResult)> {
        let probe = self.probe;
        let clear = fleet.views().filter(move |(_, view)| is_clear(view, probe));
        clear.flat_map(move |(seen, view)| {
            let own = view
                .probes
                .iter()
                .filter(move |result| result.part == probe);
            own.map(move |result| (seen, result))
        })
    }
}

/// Says whether an instance can judge a part: nobody holds its breaker open. An instance that takes
/// no work is not listed as passing, so it does not find itself in the registry.
pub(super) fn is_clear(view: &View, probe: &str) -> bool {
    let held = view.breakers.iter().any(|one| {
        one.forced
            && breaker::is_open(one)
            && matches!(breaker::guarded(&one.name), Guarded::Part(part) if part == probe)
    });
    !held && (probe != REGISTRY || view.ready)
}
