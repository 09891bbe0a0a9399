//! R6: the registry is gone while the services work, and then one of them dies as well. Healthy
//! services go on calling each other without a fault; whoever called the dead one finds out by itself.
//!
//! The other cases of discovery are tests of the mesh's own, listed in `cases`.

mod callers;
mod cases;
mod load;

use std::time::{Duration, Instant};

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

const REGISTRY: &str = "consul";
/// Who dies, and the process of one of its instances.
const DEAD: (ServiceName, &str) = (ServiceName::OllamaProxy, "ollama-proxy-2");
/// Longest time that a dead instance is called.
const EJECTED_WITHIN: Duration = Duration::from_secs(2);
/// How long is looked whether it is called.
const WATCHED: Duration = Duration::from_secs(6);
/// Load before the death, and pause between two looks.
const WARM: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

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
    let what = "failed tries at a dead instance, the most of a caller";
    bar.measured(what, death.most, Goal::AtMost(1.0));
    let within = Goal::AtMost(EJECTED_WITHIN.as_secs_f64());
    bar.measured("the last try at it after its end", death.last, within);
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

/// How long, and how often, a dead instance was still tried.
struct Death {
    most: u64,
    last: Duration,
}

/// Kills an instance under load and watches who still calls it.
async fn die(platform: &Platform, callers: &Callers) -> Death {
    let load = Load::begin(platform);
    // Every caller has a connection by then.
    tokio::time::sleep(WARM).await;
    let before = callers.failures().await;
    platform.signal(DEAD.1, Signal::KILL);
    let died = Instant::now();
    let mut death = Death {
        most: 0,
        last: Duration::ZERO,
    };
    let mut seen = before.clone();
    while died.elapsed() < WATCHED {
        let now = callers.failures().await;
        if now != seen {
            death.last = died.elapsed();
            seen = now;
        }
        tokio::time::sleep(PAUSE).await;
    }
    println!("failed tries by caller and instance, before: {before:?}, after: {seen:?}");
    let tries = seen
        .iter()
        .map(|(of, failures)| failures - before.get(of).unwrap_or(&0));
    death.most = tries.max().unwrap_or_default();
    let (_, failures) = load.end().await;
    println!("requests that the dead instance took along: {failures:#?}");
    death
}
