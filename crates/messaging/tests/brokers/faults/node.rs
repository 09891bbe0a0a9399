//! A node that restarts, is killed or runs out of memory: a node of their own, one test at a time.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use sutazai_messaging::{Broker, BrokerError};
use sutazai_servers::{
    rabbitmq::{Options, RabbitMq},
    scratch,
};
use tokio::sync::{Mutex, MutexGuard};

use super::published;
use crate::bench::{QUEUE, collector, declared, depth_reaches, next, task};
use crate::real::connect;

const AGAIN: Duration = Duration::from_secs(10);

static NODE: Mutex<Option<RabbitMq>> = Mutex::const_new(None);

/// Returns the node that may be broken, with an empty virtual host.
async fn node(vhost: &str) -> MutexGuard<'static, Option<RabbitMq>> {
    let mut node = NODE.lock().await;
    if node.is_none() {
        let data = scratch::folder().unwrap().join("unlucky-rabbitmq");
        let started = RabbitMq::start(Options::throw_away(data)).await;
        *node = Some(started.unwrap());
    }
    let server = node.as_ref().unwrap();
    server.management().make_vhost(vhost).await.unwrap();
    node
}

/// Starts the node again as it was.
async fn start_again(node: &mut Option<RabbitMq>, options: Options) {
    *node = Some(RabbitMq::start(options).await.unwrap());
}

#[tokio::test]
async fn tsk_04_a_restart_ends_nothing() {
    let mut node = node("restart").await;
    let server = node.take().unwrap();
    let options = server.options();
    let broker = declared(connect(server.url("restart"), "worker")).await;
    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();

    server.stop().await;
    let refused = broker.publish(task("meanwhile")).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    start_again(&mut node, options).await;
    let back = Instant::now();
    published(&broker, task("after")).await;
    assert_eq!(next(&mut deliveries).await.id, "after");
    assert!(back.elapsed() < AGAIN, "{:?}", back.elapsed());
    consumer.stop().await;
}

#[tokio::test]
async fn trap_5_nothing_confirmed_is_lost_when_the_node_is_killed() {
    let mut node = node("killed").await;
    let server = node.take().unwrap();
    let options = server.options();
    let broker = declared(connect(server.url("killed"), "coordinator")).await;
    registered_on_disk(&server, &format!("killed_{QUEUE}")).await;
    let publisher = tokio::spawn({
        let broker = broker.clone();
        async move {
            // As an outbox does: what is not confirmed is published again, with the same id.
            for number in 0..2_000 {
                published(&broker, task(&number.to_string())).await;
            }
        }
    });
    depth_reaches_at_least(&broker, 200).await;
    server.kill().await;
    start_again(&mut node, options).await;
    publisher.await.unwrap();

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 100, handler).await.unwrap();
    let mut missing: BTreeSet<String> = (0..2_000).map(|number| number.to_string()).collect();
    while !missing.is_empty() {
        missing.remove(&next(&mut deliveries).await.id);
    }
    consumer.stop().await;
}

#[tokio::test]
async fn trap_7_a_blocked_publisher_fails_in_time_and_consumers_go_on() {
    let node = node("alarm").await;
    let server = node.as_ref().unwrap();
    let broker = declared(connect(server.url("alarm"), "worker")).await;
    let (handler, mut deliveries) = collector();
    for id in ["one", "two"] {
        broker.publish(task(id)).await.unwrap();
    }
    let watermark = |value: &'static str| async move {
        let set = server.ctl(&["set_vm_memory_high_watermark", value]).await;
        set.unwrap();
    };
    watermark("0.000001").await;
    let mut tried = Instant::now();
    // The alarm takes a moment to reach the connection.
    while broker.publish(task("three")).await.is_ok() {
        tried = Instant::now();
    }
    assert!(
        tried.elapsed() < Duration::from_secs(6),
        "{:?}",
        tried.elapsed()
    );
    let known = Instant::now();
    let refused = broker.publish(task("four")).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(
        known.elapsed() < Duration::from_secs(1),
        "{:?}",
        known.elapsed()
    );

    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    for id in ["one", "two"] {
        assert_eq!(next(&mut deliveries).await.id, id);
    }
    watermark("0.4").await;
    let free = Instant::now();
    published(&broker, task("five")).await;
    while next(&mut deliveries).await.id != "five" {}
    assert!(free.elapsed() < AGAIN, "{:?}", free.elapsed());
    consumer.stop().await;
    depth_reaches(&broker, QUEUE, 0).await;
}

/// Waits until the node has written down that it has a queue. A 3.10.8 that is killed in the three
/// seconds before that comes back without what was in the queue, and the queue without a leader.
async fn registered_on_disk(server: &RabbitMq, queue: &str) {
    let system = "mnesia/rabbit@localhost/quorum/rabbit@localhost/names.dets";
    let file = server.data().join(system);
    let is_written = || {
        let text = std::fs::read(&file).unwrap();
        text.windows(queue.len())
            .any(|part| part == queue.as_bytes())
    };
    let started = Instant::now();
    while !is_written() {
        assert!(started.elapsed() < AGAIN, "{queue} is not written down");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn depth_reaches_at_least(broker: &impl Broker, expected: u64) {
    while broker.depth(QUEUE).await.unwrap() < expected {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
