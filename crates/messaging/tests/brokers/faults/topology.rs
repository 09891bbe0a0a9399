//! Parts of the topology that somebody else removes or changes.

use std::time::Duration;

use serde_json::Value;
use sutazai_messaging::message::{HEADER_DEAD_QUEUE, HEADER_REASON};
use sutazai_messaging::topology::{self, DEAD_LETTERS, INTAKE, TASKS, WORK};
use sutazai_messaging::{Broker, BrokerError, Outcome, Outgoing};
use tokio::time::{Instant, timeout};

use super::published;
use crate::bench::{QUEUE, TYPE, collector, dead_letter, declared, next, scripted, task};
use crate::real::{Place, connect};

const AGAIN: Duration = Duration::from_secs(10);

#[tokio::test]
async fn tsk_03_a_queue_deleted_under_its_consumer_is_declared_again() {
    let place = Place::new().await;
    let broker = declared(place.broker("worker")).await;
    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    place.manage("DELETE", "queues", QUEUE, "").await;
    let gone = Instant::now();
    // Until the queue is there again its messages are caught by the alternate exchange.
    loop {
        broker.publish(task("after")).await.unwrap();
        if let Ok(delivery) = timeout(Duration::from_millis(200), deliveries.recv()).await {
            assert_eq!(delivery.unwrap().id, "after");
            break;
        }
        assert!(gone.elapsed() < AGAIN, "not consuming again");
    }
    consumer.stop().await;
}

#[tokio::test]
async fn tsk_03_a_queue_with_other_arguments_is_consumed_and_named_a_conflict() {
    let place = Place::new().await;
    let owner = declared(place.broker("owner")).await;
    // It does not know the topology: it can only wait for the queue.
    let worker = place.broker("worker");
    let (handler, mut deliveries) = collector();
    let consumer = worker.consume(QUEUE, 1, handler).await.unwrap();
    place.manage("DELETE", "queues", QUEUE, "").await;
    let other = r#"{"durable":true,"arguments":{"x-queue-type":"classic"}}"#;
    place.manage("PUT", "queues", QUEUE, other).await;
    let message = Outgoing {
        exchange: String::new(),
        routing_key: QUEUE.to_owned(),
        ..task("after")
    };
    owner.publish(message).await.unwrap();
    let delivery = timeout(AGAIN, deliveries.recv()).await;
    assert_eq!(delivery.expect("not consuming again").unwrap().id, "after");
    consumer.stop().await;

    let (queue, _) = topology::work_queue(TYPE);
    let mut again = topology::platform();
    again.queues.push(queue);
    let conflict = owner.declare(&again).await;
    assert!(matches!(conflict, Err(BrokerError::Conflict(name)) if name == QUEUE));
}

#[tokio::test]
async fn tsk_03_a_missing_exchange_is_declared_again_with_its_bindings() {
    let place = Place::new().await;
    let broker = declared(place.broker("coordinator")).await;
    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    for round in ["one", "several"] {
        place.manage("DELETE", "exchanges", WORK, "").await;
        let ids: Vec<String> = (0..3).map(|number| format!("{round} {number}")).collect();
        for id in &ids {
            published(&broker, task(id)).await;
        }
        for id in &ids {
            assert_eq!(next(&mut deliveries).await.id, *id);
        }
    }
    place.manage("DELETE", "exchanges", WORK, "").await;
    let batch = || vec![task("a"), task("b")];
    let refused = broker.publish_all(batch()).await;
    assert!(refused.iter().all(Result::is_err), "{refused:?}");
    let taken = broker.publish_all(batch()).await;
    assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    assert_eq!(next(&mut deliveries).await.id, "a");
    consumer.stop().await;
}

#[tokio::test]
async fn tsk_07_a_dead_letter_survives_the_absence_of_its_exchange() {
    let place = Place::new().await;
    let broker = declared(place.broker("worker")).await;
    place.manage("DELETE", "exchanges", DEAD_LETTERS, "").await;
    let (handler, mut deliveries) =
        scripted(|_| Box::pin(async { Outcome::Reject("broken".to_owned()) }));
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("poison")).await.unwrap();
    next(&mut deliveries).await;
    let letter = dead_letter(&broker).await;
    assert_eq!(letter.id, "poison");
    assert_eq!(letter.headers[HEADER_REASON], "broken");
    consumer.stop().await;
}

#[tokio::test]
async fn tsk_07_a_retry_survives_the_absence_of_its_queue() {
    let place = Place::new().await;
    let broker = declared(place.broker("worker")).await;
    let (handler, mut deliveries) = scripted(|delivery| {
        Box::pin(async move {
            match delivery.delivery_count {
                0 | 1 => Outcome::Retry(Duration::from_millis(1)),
                _ => Outcome::Done,
            }
        })
    });
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("one")).await.unwrap();
    for _ in 0..3 {
        next(&mut deliveries).await;
    }
    place.manage("DELETE", "queues", "retry.100ms", "").await;
    broker.publish(task("two")).await.unwrap();
    for count in 0..3 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(
            (delivery.id.as_str(), delivery.delivery_count),
            ("two", count)
        );
    }
    consumer.stop().await;
}

#[tokio::test]
async fn tsk_03_the_definitions_file_is_what_the_code_declares() {
    let place = Place::new().await;
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../deploy/rabbitmq/definitions.json"
    );
    let definitions = std::fs::read_to_string(file).unwrap();
    let management = place.server.management();
    let imported = management
        .request("POST", "/definitions", &definitions)
        .await;
    let imported = imported.unwrap();
    assert!(imported.status < 300, "{imported:?}");

    let broker = connect(place.server.url("/"), "backend");
    broker.declare(&topology::platform()).await.unwrap();
    let queues = management.request("GET", "/queues/%2F", "").await.unwrap();
    let queues: Value = serde_json::from_str(&queues.body).unwrap();
    let names: Vec<&str> = queues
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|queue| queue["name"].as_str())
        .collect();
    let topology = topology::platform();
    let mut declared: Vec<&str> = topology.queues.iter().map(|queue| &*queue.name).collect();
    declared.sort_unstable();
    assert_eq!(names, declared);
}

#[tokio::test]
async fn agt_07_the_broker_shows_the_connections_by_the_name_of_the_service() {
    let place = Place::new().await;
    let broker = declared(place.broker("automation-agent")).await;
    broker.publish(task("any")).await.unwrap();
    let started = Instant::now();
    loop {
        let connections = place.manage("GET", "vhosts", "connections", "").await;
        let connections: Value = serde_json::from_str(&connections).unwrap();
        let named = |connection: &&Value| {
            connection["client_properties"]["connection_name"] == "automation-agent"
        };
        let connections = connections.as_array().unwrap();
        if connections.iter().filter(named).count() == 2 {
            return;
        }
        assert!(started.elapsed() < AGAIN, "{connections:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn sec_10_what_expires_died_where_the_broker_says_and_not_where_its_sender_says() {
    let place = Place::new().await;
    let broker = declared(place.broker("coordinator")).await;
    // A producer may set how long its message lives, and any header.
    let message = r#"{
        "properties": {
            "headers": {"x-reason": "bored", "x-dead-queue": "task-coordinator.events"},
            "expiration": "1",
            "message_id": "forged"
        },
        "routing_key": "any",
        "payload": "x",
        "payload_encoding": "string"
    }"#;
    let publish = format!("{TASKS}/publish");
    let routed = place.manage("POST", "exchanges", &publish, message).await;
    assert!(routed.contains("true"), "{routed}");
    let letter = dead_letter(&broker).await;
    assert_eq!(letter.id, "forged");
    assert_eq!(letter.headers[HEADER_REASON], "expired");
    assert_eq!(letter.headers[HEADER_DEAD_QUEUE], INTAKE);
    assert_eq!(letter.exchange, DEAD_LETTERS);
}
