//! R1: processes are killed under load. Afterwards nothing that was accepted is lost, nothing is
//! doubled, and everything has ended.
//!
//! The victims are the servers and the services of one platform, drawn from a printed seed. The load
//! keeps its own record, which the oracle holds against what is stored.

mod ledger;
mod load;
mod victims;

use std::time::{Duration, Instant};

use sutazai_testkit::ollama::FakeNode;
use system_tests::{
    oracle::{Evidence, Promise, Verdict},
    platform::{Platform, alone},
};
use tokio::runtime::{Builder, Runtime};

use crate::{
    bar::{Bar, Figure, Goal},
    site::{REPLICAS, UNLIMITED, script},
    size::{Size, seed},
    worker::Worker,
};
use ledger::Ledger;
use load::Load;
use victims::Victims;

/// Longest time from the last kill to the last end of a task.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Load before the first kill. RabbitMQ 3.10 can lose a quorum queue that was declared within about
/// a second before a kill -9; that is its own fault, and no queue is declared later than at start.
const CALM: Duration = Duration::from_secs(5);
/// Room for more than what is submitted. A model's answer takes an agent some 45 ms: the two tasks at
/// once of its default are some 90 a second with both replicas alive, and 82 come: they never catch up.
const ROOM: [(&str, &str); 2] = [("AGENT_SLOTS", "8"), ("OLLAMA_SLOTS", "16")];

pub(crate) async fn run(size: &Size) {
    let _alone = alone().await;
    let machine = machine();
    let nodes = vec![node(&machine).await, node(&machine).await];
    let platform =
        Platform::start("kills", REPLICAS, nodes, &[&UNLIMITED[..], &ROOM].concat()).await;

    let worker = Worker::start(&platform).await;
    let effects = worker.effects();
    let load = Load::begin(&platform, size.rate);
    tokio::time::sleep(CALM).await;
    let mut victims = Victims::new(&platform, worker, seed());
    let mut last_kill = Instant::now();
    for number in 1..=size.kills {
        let kill = victims.kill_one().await;
        println!(
            "kill {number}: -9 {}, another one after {:.1?}",
            kill.name,
            kill.at.elapsed()
        );
        last_kill = kill.at;
    }
    let (sent, rate) = load.end().await;
    let ledger = Ledger::settled(&platform, &effects, last_kill + SETTLED_WITHIN).await;
    let settled = ledger.at.duration_since(last_kill);
    let (strays, not_after_all) = (ledger.strays, ledger.not_after_all);
    let evidence = ledger.evidence(sent);
    let verdict = evidence.judge();
    println!("{}\n{verdict}", summary(&evidence));

    let mut bar = Bar::new("R1", size);
    bar.holds("processes killed", size.kills as usize, goal(size.kills));
    bar.measured("submitted", Figure(rate, "/s"), goal(size.rate));
    judge(&mut bar, &evidence, &verdict);
    bar.holds(
        "the last end after the last kill",
        settled,
        Goal::AtMost(SETTLED_WITHIN.as_secs_f64()),
    );
    bar.holds("messages that nobody could read", strays, Goal::Is(0.0));
    bar.holds(
        "dead letters without exactly their attempts",
        not_after_all,
        Goal::Is(0.0),
    );
    drop(victims);
    platform.stop().await;
    machine.shutdown_background();
    bar.close();
}

/// Splits the oracle's ten promises into the figures of the bar.
fn judge(bar: &mut Bar, evidence: &Evidence, verdict: &Verdict) {
    use Promise::{EffectOnce, Ended, EndedOnce, Kept, OncePerKey};

    let none = Goal::Is(0.0);
    bar.holds("accepted tasks lost", verdict.count(Kept), none);
    let doubled = [EffectOnce, OncePerKey, EndedOnce].map(|promise| verdict.count(promise));
    bar.holds(
        "effects, tasks or ends doubled",
        doubled.iter().sum::<usize>(),
        none,
    );
    bar.holds("tasks without an end", verdict.count(Ended), none);
    let told = [Kept, EffectOnce, OncePerKey, EndedOnce, Ended];
    let rest = Promise::ALL
        .iter()
        .filter(|promise| !told.contains(promise));
    let rest: usize = rest.map(|promise| verdict.count(*promise)).sum();
    bar.holds("other promises broken", rest, none);

    bar.holds(
        "poison parked",
        evidence.dead_letters.len(),
        Goal::AtLeast(1.0),
    );
    let good = evidence.tasks.iter();
    let good = good.filter(|task| !evidence.dead_letters.contains(&task.id));
    let blamed = good.filter(|task| !["succeeded", "interrupted"].contains(&task.state.as_str()));
    bar.holds("good tasks that failed", blamed.count(), none);
}

fn summary(evidence: &Evidence) -> String {
    let launches = evidence.tasks.iter().map(|task| task.launches);
    format!(
        "{} sent, {} stored, {} launches",
        evidence.sent.len(),
        evidence.tasks.len(),
        launches.sum::<usize>()
    )
}

fn goal(at_least: u32) -> Goal {
    Goal::AtLeast(at_least.into())
}

/// A thread of its own for the nodes: the load must not keep them from answering.
fn machine() -> Runtime {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    runtime.expect("a runtime")
}

async fn node(machine: &Runtime) -> FakeNode {
    let node = machine.spawn(FakeNode::start(script()));
    node.await.expect("a node")
}
