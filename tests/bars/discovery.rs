//! R6: the registry is gone while the services work, and then one of them dies as well. Healthy
//! services go on calling each other without a fault; whoever called the dead one finds out by itself.
//!
//! The other cases of discovery are tests of the mesh's own, listed in `cases`.

mod callers;
mod cases;
mod load;
mod tries;

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rustix::process::Signal;
use sutazai_mesh::catalog::ServiceName;
use system_tests::platform::Platform;

use crate::{
    bar::{Bar, Goal},
    outage::Outage,
    site::shared,
    size::Size,
};
use callers::{Callers, failed_calls};
use cases::CASES;
use load::Load;
use tries::{Tries, tries};

const REGISTRY: &str = "consul";
/// Who dies, and the process of one of its instances.
const DEAD: (ServiceName, &str) = (ServiceName::OllamaProxy, "ollama-proxy-2");
/// Longest time that a dead instance is called.
const EJECTED_WITHIN: Duration = Duration::from_secs(2);
/// How long is looked whether it is called.
const WATCHED: Duration = Duration::from_secs(6);
/// Pause between two looks whether it is dead.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) async fn run(size: &Size) {
    let platform = shared().await;
    let callers = Callers::of(&platform, DEAD.0).await;
    let load = Load::begin(&platform);
    let outage = Outage::begin(&platform, REGISTRY);
    let before = failed_calls(&platform).await;
    tokio::time::sleep(size.registry_outage).await;
    let after = failed_calls(&platform).await;
    let (requests, failures) = load.end().await;
    println!("calls that failed, before: {before:?}, after: {after:?}\n{failures:#?}");

    let mut bar = Bar::new("R6", size);
    let gone = Goal::AtLeast(size.registry_outage.as_secs_f64());
    bar.holds("the registry was gone", outage.lasts(), gone);
    let failed = after.values().sum::<u64>() - before.values().sum::<u64>();
    bar.holds(
        "calls between healthy services that failed",
        failed,
        Goal::Is(0.0),
    );
    let what = format!("requests of {requests} that failed");
    bar.holds(&what, failures.len(), Goal::Is(0.0));

    let death = die(&platform, &callers).await;
    println!(
        "calls that the dead instance took along: {}",
        death.in_flight
    );
    let what = "failed tries at a dead instance, the most of a caller";
    bar.measured(what, death.most, Goal::AtMost(1.0));
    let within = Goal::AtMost(EJECTED_WITHIN.as_secs_f64());
    let last = death.last.to_std().expect("after its end");
    bar.measured("the last try at it after its end", last, within);
    outage
        .end(async || platform.passing(DEAD.0.as_str()).await.is_some())
        .await;
    platform.whole().await;
    let tested = CASES.iter().filter(|(_, test)| test.is_some()).count();
    let untested = CASES.iter().filter(|(_, test)| test.is_none());
    let untested: Vec<&str> = untested.map(|(case, _)| *case).collect();
    println!("cases without a test: {untested:?}");
    bar.measured(
        "cases of discovery that have a test",
        tested,
        Goal::Is(20.0),
    );
    bar.close();
}

/// Kills an instance under load and watches who still calls it.
async fn die(platform: &Platform, callers: &Callers) -> Tries {
    let load = Load::begin(platform);
    callers.connected().await;
    let before = callers.counts().await;
    let process = platform.signal(DEAD.1, Signal::KILL);
    // It is dead when the kernel has closed its sockets; until then it takes calls.
    let mut died = Utc::now();
    while process.is_alive() {
        died = Utc::now();
        tokio::time::sleep(PAUSE).await;
    }
    tokio::time::sleep(WATCHED).await;
    let after = callers.counts().await;
    let (_, failures) = load.end().await;
    println!("requests that the dead instance took along: {failures:#?}");
    let watched = TimeDelta::from_std(WATCHED).expect("seconds");
    tries(platform, (&before, &after), died, watched)
}
