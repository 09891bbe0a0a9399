//! Messages through the platform's own exchange and queue: sent by every service that has a broker,
//! consumed by the task coordinator.

use std::{collections::BTreeMap, time::Duration};

use futures::future::join_all;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::platform::v1::Counter;
use sutazai_runtime::probe::ECHOES;
use tokio::time::{Instant, sleep};

use super::{
    fleet::{Fleet, Seen},
    part::Part,
    report::{Row, State},
    traffic::Tally,
};

/// Who consumes the echoes.
const CONSUMER: ServiceName = ServiceName::TaskCoordinator;
/// Longest time from the confirm to the consumer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two looks.
const PACE: Duration = Duration::from_millis(20);

/// Completes the row of a broker that works: what was confirmed has to arrive.
pub(super) async fn followed(row: Row, broker: &Part, fleet: &Fleet) -> Row {
    if !matches!(row.state, State::Well | State::Unused) {
        return row;
    }
    let consumers: Vec<&Seen> = fleet
        .of(CONSUMER)
        .filter(|seen| seen.view.is_ok())
        .collect();
    if consumers.is_empty() {
        let evidence = format!("{}; nobody is there to consume it", row.evidence);
        return Row { evidence, ..row };
    }
    let sent = sent(broker, fleet);
    let total: u64 = sent.values().sum();
    let before = consumers.iter().filter_map(|seen| seen.view.as_ref().ok());
    let before: Vec<&Counter> = before.flat_map(|view| &view.counters).collect();
    let before = Tally(before);
    let begun = Instant::now();
    loop {
        let asked = consumers
            .iter()
            .map(|seen| fleet.operator.counters(&seen.instance));
        let now: Vec<Counter> = join_all(asked)
            .await
            .into_iter()
            .flatten()
            .flatten()
            .collect();
        let now = Tally(now.iter().collect());
        let missing: u64 = sent
            .iter()
            .map(|(from, sent)| {
                let came = now
                    .echoes(Some(from))
                    .saturating_sub(before.echoes(Some(from)));
                sent.saturating_sub(came)
            })
            .sum();
        if missing == 0 {
            let evidence = format!(
                "{}; all {total} echoes of {} services were consumed by {CONSUMER}",
                row.evidence,
                sent.len()
            );
            return Row { evidence, ..row };
        }
        if begun.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let cause = format!(
                "{total} echoes were confirmed, and {missing} of them did not reach {CONSUMER} within {seconds} s"
            );
            return Row {
                counters: row.counters,
                ..Row::bad(broker.name, cause)
            };
        }
        sleep(PACE).await;
    }
}

/// Counts by service the echoes that the probes sent.
fn sent<'a>(broker: &Part, fleet: &'a Fleet) -> BTreeMap<&'a str, u64> {
    let mut sent = BTreeMap::new();
    for (seen, probe) in broker.probes(fleet) {
        let echoes = probe.counters.get(ECHOES).copied().unwrap_or_default();
        *sent.entry(seen.instance.service.as_str()).or_default() += echoes;
    }
    sent
}
