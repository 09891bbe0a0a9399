//! The circuit breakers of every instance.

use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use sutazai_proto::platform::v1::{Breaker, BreakerState, BreakerTransition};

use super::{
    fleet::{Fleet, Seen},
    part::Parts,
    report::{Report, Row},
};

/// Name of the row of those that let calls pass.
const ALL: &str = "breakers";
/// Row of the model nodes, which is no shared part.
const NODE: &str = "node";

/// What a breaker stands in front of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guarded<'a> {
    /// A part, by the name of its probes.
    Part(&'static str),
    /// An instance of a service, by its id.
    Instance(&'a str),
    /// Something that no row is about.
    Other,
}

/// Reads from its name what a breaker guards.
pub(super) fn guarded(name: &str) -> Guarded<'_> {
    match name.split_once(':').unwrap_or((name, "")) {
        ("rabbitmq", _) => Guarded::Part("broker"),
        ("consul", _) => Guarded::Part("registry"),
        ("redis", _) => Guarded::Part("redis"),
        ("postgres", _) => Guarded::Part("postgres"),
        ("ollama", _) => Guarded::Part(NODE),
        ("grpc", id) => Guarded::Instance(id),
        _ => Guarded::Other,
    }
}

/// Says whether a breaker refuses calls now; one whose pause is over lets the next call try.
pub(super) fn is_open(breaker: &Breaker) -> bool {
    let waits = breaker
        .next_try_at
        .and_then(|at| SystemTime::try_from(at).ok())
        .is_none_or(|at| at > SystemTime::now());
    breaker.state() == BreakerState::Open && (breaker.forced || waits)
}

/// Adds a row for each breaker that refuses calls though what it guards works, and one for all others.
pub(super) async fn judge(fleet: &Fleet, parts: &Parts, report: &mut Report) {
    let mut tally = Tally::default();
    for (seen, _) in fleet.views() {
        // Asked again: probes may have opened or closed some.
        let Ok(breakers) = fleet.operator.breakers(&seen.instance).await else {
            continue;
        };
        tally.instances += 1;
        for breaker in breakers {
            tally.count(&breaker);
            if !is_open(&breaker) {
                continue;
            }
            match why(fleet, parts, report, &breaker) {
                Some(broken) if !breaker.forced => tally.explained.push(broken),
                _ => report.add(row(fleet, seen, &breaker).await),
            }
        }
    }
    report.add(tally.row());
}

/// Returns the broken part that has opened a breaker; an instance that is gone explains it too.
fn why(fleet: &Fleet, parts: &Parts, report: &Report, breaker: &Breaker) -> Option<String> {
    let part = match guarded(&breaker.name) {
        Guarded::Part(NODE) => NODE.to_owned(),
        Guarded::Part(probe) => parts.row_of(probe)?.to_owned(),
        Guarded::Instance(id) => match fleet.instances.iter().find(|seen| is(seen, id)) {
            Some(seen) => seen.name.clone(),
            None => return Some(format!("{id}, which is gone")),
        },
        Guarded::Other => return None,
    };
    report.lacks(&part).then_some(part)
}

fn is(seen: &Seen, id: &str) -> bool {
    let says = seen.view.as_ref().map(|view| view.id.as_str());
    seen.instance.id.as_str() == id || says == Ok(id)
}

/// Makes the row of a breaker that refuses calls.
async fn row(fleet: &Fleet, seen: &Seen, breaker: &Breaker) -> Row {
    let history = fleet.operator.history(&seen.instance, &breaker.name).await;
    let last = history.ok().and_then(|changes| changes.last().cloned());
    let name = format!("breaker {} of {}", breaker.name, seen.name);
    Row::bad(&name, cause(breaker, last.as_ref())).counting([
        ("successes".to_owned(), breaker.successes),
        ("failures".to_owned(), breaker.failures),
        ("rejections".to_owned(), breaker.rejections),
    ])
}

fn cause(breaker: &Breaker, last: Option<&BreakerTransition>) -> String {
    let since = last
        .and_then(|change| SystemTime::try_from(change.at?).ok())
        .map(|at| DateTime::<Utc>::from(at).to_rfc3339_opts(SecondsFormat::Secs, true))
        .map(|at| format!(" since {at}"))
        .unwrap_or_default();
    if breaker.forced {
        let by = last.map_or("", |change| change.operator.as_str());
        return format!(
            "held open by {by}{since}: POST /api/v1/circuit-breaker/{}/reset lets it judge again",
            breaker.name
        );
    }
    format!("open{since}: {}", breaker.last_error)
}

/// What is said about all breakers together.
#[derive(Default)]
struct Tally {
    instances: usize,
    closed: usize,
    others: usize,
    successes: u64,
    failures: u64,
    rejections: u64,
    explained: Vec<String>,
}

impl Tally {
    fn count(&mut self, breaker: &Breaker) {
        let closed = breaker.state() == BreakerState::Closed;
        self.closed += usize::from(closed);
        self.others += usize::from(!closed);
        self.successes += breaker.successes;
        self.failures += breaker.failures;
        self.rejections += breaker.rejections;
    }

    fn row(mut self) -> Row {
        let all = self.closed + self.others;
        if all == 0 {
            return Row::not_judged(ALL, "not judged: no instance lists its breakers");
        }
        self.explained.sort_unstable();
        self.explained.dedup();
        let open = match self.explained.as_slice() {
            [] => String::new(),
            broken => format!("; some are open for {}", broken.join(", ")),
        };
        let text = format!(
            "{} of {all} breakers of {} instances are closed{open}",
            self.closed, self.instances
        );
        Row::good(ALL, text).counting([
            ("successes".to_owned(), self.successes),
            ("failures".to_owned(), self.failures),
            ("rejections".to_owned(), self.rejections),
        ])
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn open(next_try: Option<Duration>, forced: bool) -> Breaker {
        Breaker {
            state: BreakerState::Open.into(),
            next_try_at: next_try.map(|wait| (SystemTime::now() + wait).into()),
            forced,
            ..Breaker::default()
        }
    }

    #[test]
    fn cb_02_every_name_says_what_is_guarded() {
        assert_eq!(guarded("rabbitmq"), Guarded::Part("broker"));
        assert_eq!(guarded("postgres:identity"), Guarded::Part("postgres"));
        assert_eq!(guarded("ollama:gpu-1"), Guarded::Part(NODE));
        assert_eq!(
            guarded("grpc:backend-0123abcd"),
            Guarded::Instance("backend-0123abcd")
        );
        assert_eq!(guarded("kong-admin"), Guarded::Other);
    }

    #[test]
    fn a_breaker_whose_pause_is_over_lets_the_next_call_try() {
        assert!(is_open(&open(Some(Duration::from_secs(5)), false)));
        assert!(!is_open(&open(Some(Duration::ZERO), false)));
        assert!(is_open(&open(None, true)));
        assert!(!is_open(&Breaker::default()));
    }
}
