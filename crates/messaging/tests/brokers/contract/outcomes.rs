//! What becomes of a delivery, by its outcome.

use std::time::Duration;

use sutazai_messaging::message::{HEADER_DEAD_QUEUE, HEADER_REASON, REASON_DELIVERY_LIMIT};
use sutazai_messaging::{Broker, Outcome, topology};
use tokio::time::Instant;

use crate::bench::{QUEUE, TYPE, dead_letter, declared, depth_reaches, next, scripted, task};

pub(crate) async fn a_panic_gives_the_delivery_back(broker: impl Broker) {
    let broker = declared(broker).await;
    let (handler, mut deliveries) = scripted(|delivery| {
        Box::pin(async move {
            assert!(delivery.delivery_count > 0, "this panic is wanted");
            Outcome::Done
        })
    });
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("poor")).await.unwrap();
    broker.publish(task("next")).await.unwrap();
    let first = next(&mut deliveries).await;
    let second = next(&mut deliveries).await;
    assert_eq!((first.id.as_str(), first.delivery_count), ("poor", 0));
    assert_eq!((second.id.as_str(), second.delivery_count), ("poor", 1));
    // The consumer outlives the panic.
    assert_eq!(next(&mut deliveries).await.id, "next");
    consumer.stop().await;
}

pub(crate) async fn the_sixth_delivery_is_the_last(broker: impl Broker) {
    let broker = declared(broker).await;
    let (handler, mut deliveries) = scripted(|delivery| {
        Box::pin(async move {
            // Panics and retries count alike.
            assert!(
                delivery.delivery_count.is_multiple_of(2),
                "this panic is wanted"
            );
            Outcome::Retry(Duration::from_millis(1))
        })
    });
    let consumer = broker.consume(QUEUE, 4, handler).await.unwrap();
    let sent = task("poison");
    broker.publish(sent.clone()).await.unwrap();
    for earlier in 0..6 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(
            (delivery.id.as_str(), delivery.delivery_count),
            ("poison", earlier)
        );
    }
    depth_reaches(&broker, topology::DEAD_LETTERS, 1).await;
    consumer.stop().await;
    assert!(deliveries.try_recv().is_err(), "a seventh delivery came");

    let letter = dead_letter(&broker).await;
    assert_eq!(letter.id, sent.id);
    assert_eq!(letter.body, sent.body);
    assert_eq!(letter.headers[HEADER_REASON], REASON_DELIVERY_LIMIT);
    assert_eq!(letter.headers[HEADER_DEAD_QUEUE], QUEUE);
}

pub(crate) async fn a_rejected_message_says_why(broker: impl Broker) {
    let broker = declared(broker).await;
    let (handler, mut deliveries) =
        scripted(|_| Box::pin(async { Outcome::Reject("unknown_event".to_owned()) }));
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("strange")).await.unwrap();
    next(&mut deliveries).await;
    let letter = dead_letter(&broker).await;
    consumer.stop().await;
    assert_eq!(letter.id, "strange");
    assert_eq!(letter.routing_key, TYPE);
    assert_eq!(letter.exchange, topology::DEAD_LETTERS);
    assert_eq!(letter.headers[HEADER_REASON], "unknown_event");
    assert_eq!(letter.headers[HEADER_DEAD_QUEUE], QUEUE);
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
    assert!(deliveries.try_recv().is_err(), "it came again");
}

pub(crate) async fn a_message_keeps_its_author(broker: impl Broker) {
    let broker = declared(broker).await;
    let (handler, mut deliveries) = scripted(|delivery| {
        Box::pin(async move {
            match delivery.delivery_count {
                0 => Outcome::Retry(Duration::ZERO),
                _ => Outcome::Reject("strange".to_owned()),
            }
        })
    });
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    let mut message = task("of the shop");
    message.properties.user_id = Some("shop".to_owned());
    broker.publish(message).await.unwrap();
    for _ in 0..2 {
        let delivery = next(&mut deliveries).await;
        assert_eq!(delivery.properties.user_id.as_deref(), Some("shop"));
    }
    let letter = dead_letter(&broker).await;
    consumer.stop().await;
    assert_eq!(letter.properties.user_id.as_deref(), Some("shop"));
}

pub(crate) async fn a_retry_waits_and_lets_others_pass(broker: impl Broker) {
    const DELAY: Duration = Duration::from_millis(300);
    let broker = declared(broker).await;
    let (handler, mut deliveries) = scripted(|delivery| {
        Box::pin(async move {
            match (delivery.id.as_str(), delivery.delivery_count) {
                ("later", 0) => Outcome::Retry(DELAY),
                _ => Outcome::Done,
            }
        })
    });
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("later")).await.unwrap();
    broker.publish(task("other")).await.unwrap();
    assert_eq!(next(&mut deliveries).await.id, "later");
    let started = Instant::now();
    assert_eq!(next(&mut deliveries).await.id, "other");
    let again = next(&mut deliveries).await;
    assert_eq!((again.id.as_str(), again.delivery_count), ("later", 1));
    // The delay began a moment before the clock of this test.
    assert!(
        started.elapsed() >= DELAY * 9 / 10,
        "came after {:?}",
        started.elapsed()
    );
    consumer.stop().await;
}
