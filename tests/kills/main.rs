//! R1: processes are killed under load. Afterwards nothing that was accepted is lost, nothing is
//! doubled, and everything has ended.
//!
//! The victims are the servers and the services of one platform, drawn from a printed seed. The load
//! keeps its own record, which the oracle holds against what is stored.

#![expect(clippy::expect_used, reason = "a test may panic")]

mod ledger;
mod load;
mod victims;
mod worker;

use std::time::{Duration, Instant};

use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::platform::Platform;
use tokio::runtime::{Builder, Runtime};

use ledger::Ledger;
use load::Load;
use victims::Victims;
use worker::Worker;

/// Submissions in a second of a run that is told no other number. A debug build on two quiet cores,
/// beside its servers and this load, has ended it all some 35 s after the last kill.
const RATE: u32 = 50;
/// Longest time from the last kill to the last end of a task.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Instances of each service: the work of a killed one is there for another.
const REPLICAS: usize = 2;
/// What the model says; a success that says something else is none.
const ANSWER: [&str; 3] = ["one ", "two ", "three"];

/// Kills of a run that is told no other number.
const KILLS: u64 = 20;
/// Load before the first kill. RabbitMQ 3.10 can lose a quorum queue that was declared within about
/// a second before a kill -9; that is its own fault, and no queue is declared later than at start.
const CALM: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn r1_kills_under_load_lose_nothing_and_double_nothing() {
    let kills = number("KILLS").unwrap_or(KILLS);
    let seed = number("SEED").unwrap_or_else(|| rand::random::<u16>().into());
    let rate = number("RATE").map_or(RATE, |rate| u32::try_from(rate).expect("a rate"));
    println!("SEED={seed} KILLS={kills} RATE={rate}");
    let machine = machine();
    let nodes = vec![node(&machine).await, node(&machine).await];
    // One principal sends it all.
    let settings = [("RATE_LIMIT_WRITE_PER_MINUTE", "1000000")];
    let platform = Platform::start("kills", REPLICAS, nodes, &settings).await;

    let worker = Worker::start(&platform).await;
    let effects = worker.effects();
    let load = Load::begin(&platform, rate);
    tokio::time::sleep(CALM).await;
    let mut victims = Victims::new(&platform, worker, seed);
    let mut last_kill = Instant::now();
    for _ in 0..kills {
        let kill = victims.kill_one().await;
        println!(
            "kill -9 {}, another one after {:.1?}",
            kill.name,
            kill.at.elapsed()
        );
        last_kill = kill.at;
    }
    let sent = load.end().await;
    let ledger = Ledger::settled(&platform, &effects, last_kill + SETTLED_WITHIN).await;
    let settled = ledger.at.duration_since(last_kill);
    let (strays, not_after_all) = (ledger.strays, ledger.not_after_all);
    let evidence = ledger.evidence(sent);
    let verdict = evidence.judge();
    println!(
        "{} sent, {} stored, {} launches, settled {:.1} s after the last kill\n{verdict}",
        evidence.sent.len(),
        evidence.tasks.len(),
        evidence
            .tasks
            .iter()
            .map(|task| task.launches)
            .sum::<usize>(),
        settled.as_secs_f64(),
    );
    assert!(verdict.is_clean(), "SEED={seed} KILLS={kills}\n{verdict}");
    assert!(
        settled <= SETTLED_WITHIN,
        "the last end came after {settled:?}"
    );
    assert_eq!(strays, 0, "messages that nobody could read");
    assert_eq!(
        not_after_all, 0,
        "dead letters without exactly their attempts"
    );
    let of = |state: &str| {
        let tasks = evidence.tasks.iter();
        tasks.filter(|task| task.state == state).count()
    };
    let poison = evidence.dead_letters.len();
    println!(
        "{} succeeded, {poison} parked, {} interrupted",
        of("succeeded"),
        of("interrupted")
    );
    assert!(poison > 0, "the load holds poison");
    assert_eq!(
        of("succeeded") + of("interrupted"),
        evidence.tasks.len() - poison,
        "nothing is to blame on a task"
    );
    drop(victims);
    platform.stop().await;
    machine.shutdown_background();
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
    let script = Script::new(["tinyllama:latest"])
        .tokens(ANSWER)
        .between_tokens(Duration::from_millis(10));
    let node = machine.spawn(FakeNode::start(script));
    node.await.expect("a node")
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
