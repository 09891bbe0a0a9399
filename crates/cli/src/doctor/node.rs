//! The model nodes, used as the platform uses them.

use std::time::Duration;

use sutazai_mesh::catalog::ServiceName;

use super::{fleet::Fleet, part, report::Row};

/// Name of the row and of the probe.
pub(super) const NAME: &str = "node";
/// Longest time for one token of a model, which may have to be loaded first.
const PATIENCE: Duration = Duration::from_secs(150);

/// Judges the model nodes by a chat of one token.
pub(super) async fn row(fleet: &Fleet) -> Row {
    let service = ServiceName::OllamaProxy;
    let mut able = fleet.of(service).filter(|seen| {
        let view = seen.view.as_ref();
        view.is_ok_and(|view| part::is_clear(view, NAME))
    });
    let Some(seen) = able.next() else {
        return Row::not_judged(NAME, format!("not judged: no {service} can ask them"));
    };
    let row = match fleet.operator.probe(&seen.instance, NAME, PATIENCE).await {
        Ok(results) => match results.into_iter().find(|probe| probe.part == NAME) {
            Some(probe) if probe.ok => Row::good(NAME, probe.evidence).counting(probe.counters),
            Some(probe) => Row::bad(NAME, probe.cause),
            None => Row::bad(NAME, format!("{service} has no probe of its nodes")),
        },
        Err(cause) => Row::bad(NAME, cause),
    };
    row.carrying(fleet.tally().of_nodes())
}
