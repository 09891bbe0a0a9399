//! Poison among what is good.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;
use sutazai_messaging::{
    Broker, Delivery, Handler, Outcome, Outgoing,
    message::Properties,
    topology::{self, Topology},
};
use system_tests::{Client, Producer};

use crate::door::{DEAD_LETTERS, Door, hello, text};

/// Deliveries of a message that nobody can do: one, and five returns.
const ALLOWED: u32 = 6;

/// A worker that can do nothing, and counts how often it was asked.
#[derive(Clone, Default)]
struct Unable(Arc<Mutex<BTreeMap<String, u32>>>);

#[async_trait]
impl Handler for Unable {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        *self.0.lock().entry(delivery.id).or_default() += 1;
        Outcome::Retry(Duration::from_millis(100))
    }
}

fn poison(body: String) -> Outgoing {
    Outgoing {
        id: body.clone(),
        exchange: topology::WORK.to_owned(),
        routing_key: "poison".to_owned(),
        headers: BTreeMap::new(),
        properties: Properties::default(),
        content_type: "text/plain".to_owned(),
        body: body.into(),
    }
}

/// Reads all dead letters, page by page.
async fn dead_letters(admin: &Client) -> Vec<Value> {
    let (mut letters, mut path) = (Vec::new(), format!("{DEAD_LETTERS}?limit=100"));
    loop {
        let page = admin.get(&path).await;
        letters.extend(page.items().iter().cloned());
        let Some(cursor) = page.json["next_cursor"].as_str() else {
            return letters;
        };
        path = format!("{DEAD_LETTERS}?limit=100&cursor={cursor}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r3_a_hundred_poison_among_a_thousand_good_are_dead_letters_and_hold_nobody_up() {
    let door = Door::open().await;
    let producer = Producer::new(door.broker.clone()).await;
    let (queue, binding) = topology::work_queue("poison");
    let topology = Topology {
        queues: vec![queue.clone()],
        bindings: vec![binding],
        ..Topology::default()
    };
    door.broker.declare(&topology).await.expect("a queue");
    let unable = Unable::default();
    let worker = door
        .broker
        .consume(&queue.name, 8, Arc::new(unable.clone()));
    let worker = worker.await.expect("a consumer");

    for n in 0..1000 {
        producer.submit(&hello(&format!("good-{n}"))).await;
        // One that can not be read, and one that can not be done.
        let broken = match n % 20 {
            0 => producer.message(&format!("{{poison-{n}")),
            10 => poison(format!("poison-{n}")),
            _ => continue,
        };
        producer.send(broken).await;
    }
    let ends = producer.ends(1050).await;
    let (good, refused): (Vec<_>, Vec<_>) = ends
        .iter()
        .partition(|end| end["type"] == "sutazai.task.finished.v1");
    assert!(good.iter().all(|end| end["data"]["state"] == "succeeded"));
    let ids = |ends: &[&Value]| -> BTreeSet<String> {
        let ids = ends.iter().map(|end| text(&end["data"]["origin"]["id"]));
        ids.collect()
    };
    assert_eq!(ids(&good).len(), 1000, "each good one is told");
    assert_eq!(refused.len(), 50);

    let admin = door.stage.admin();
    let letters = system_tests::eventually("a hundred dead letters", async || {
        let letters = dead_letters(&admin).await;
        (letters.len() >= 100).then_some(letters)
    })
    .await;
    worker.stop().await;
    let count = |reason: &str, queue: &str| {
        let of_kind = letters.iter().filter(|letter| {
            text(&letter["reason"]).starts_with(reason) && letter["queue"] == *queue
        });
        of_kind.count()
    };
    assert_eq!(letters.len(), 100);
    assert_eq!(count("invalid_json: ", topology::INTAKE), 50);
    assert_eq!(count("delivery_limit", &queue.name), 50);
    let asked = unable.0.lock().clone();
    assert_eq!(asked.len(), 50);
    assert!(asked.values().all(|times| *times == ALLOWED), "{asked:?}");
    door.close().await;
}
