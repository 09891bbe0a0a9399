//! Calls of a dead instance that its callers made, as their logs tell.

use std::{collections::BTreeMap, net::SocketAddr};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use system_tests::platform::Platform;

use super::callers::Counts;

/// What a caller's log says of a call that an instance did not answer, and of an instance that is gone.
const FAILED: [&str; 2] = ["call lost", "instance not there, others go before"];

/// What the callers of one dead instance went through.
pub(super) struct Tries {
    /// Calls that it had taken when it died, all callers together: nobody can take those back.
    pub(super) in_flight: u64,
    /// Calls and connections that began after its death, the most of one caller.
    pub(super) most: u64,
    /// When the last of these began, counted from its death.
    pub(super) last: TimeDelta,
}

/// When each failed call of an instance began, by the callers' logs.
fn begun(platform: &Platform, caller: SocketAddr, breaker: &str) -> Vec<DateTime<Utc>> {
    let names = platform.description().processes.into_keys();
    let mut logs =
        names.filter(|name| platform.addresses(name).is_some_and(|at| at.grpc == caller));
    let name = logs.next().expect("a caller of this platform");
    let lines = platform.log(&name).into_iter();
    let failed = lines.filter(|line: &Value| {
        let instance = line["instance"].as_str().unwrap_or_default();
        FAILED.iter().any(|text| line["message"] == *text) && breaker == format!("grpc:{instance}")
    });
    let begun = |line: Value| -> Option<DateTime<Utc>> {
        let at: DateTime<Utc> = line["timestamp"].as_str()?.parse().ok()?;
        Some(at - TimeDelta::milliseconds(line["took_ms"].as_i64()?))
    };
    failed.map(|line| begun(line).expect("times")).collect()
}

/// Tells what the callers counted between two looks from what their logs say of it.
///
/// A failure that no log explains counts as a try after the death, and as late as can be.
pub(super) fn tries(
    platform: &Platform,
    (before, after): (&Counts, &Counts),
    died: DateTime<Utc>,
    watched: TimeDelta,
) -> Tries {
    let mut found = Tries {
        in_flight: 0,
        most: 0,
        last: TimeDelta::zero(),
    };
    let mut of_callers = BTreeMap::<SocketAddr, u64>::new();
    for ((caller, breaker), (_, failures)) in after {
        let earlier = before.get(&(*caller, breaker.clone()));
        let failed = failures - earlier.map_or(0, |(_, failures)| *failures);
        if failed == 0 {
            continue;
        }
        let told: Vec<_> = begun(platform, *caller, breaker);
        let (in_flight, late): (Vec<_>, Vec<_>) = told.into_iter().partition(|at| *at < died);
        println!(
            "{caller} of {breaker}: {failed} failed; began before the death {:?}, after it {:?}",
            in_flight.iter().map(|at| died - at).collect::<Vec<_>>(),
            late.iter().map(|at| *at - died).collect::<Vec<_>>()
        );
        let in_flight = u64::try_from(in_flight.len()).expect("a count").min(failed);
        let tried = failed - in_flight;
        found.in_flight += in_flight;
        *of_callers.entry(*caller).or_default() += tried;
        let last = late.iter().max().map(|at| *at - died);
        let unexplained = tried > u64::try_from(late.len()).expect("a count");
        found.last = found.last.max(last.unwrap_or_default());
        if unexplained {
            found.last = watched;
        }
    }
    found.most = of_callers.into_values().max().unwrap_or_default();
    found
}
