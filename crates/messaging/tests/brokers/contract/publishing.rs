//! What becomes of a message that is published.

use std::time::Duration;

use sutazai_messaging::topology::{self, Queue, Topology};
use sutazai_messaging::{Broker, BrokerError, Outcome, Outgoing};
use sutazai_proto::events::EventType;
use sutazai_proto::tasks::v1::{TaskFinished, TaskReleased};

use crate::bench::{QUEUE, TYPE, collector, declared, depth_reaches, next, scripted, task};

pub(crate) async fn a_confirmed_message_arrives_whole(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskReleased {
        r#type: TYPE.to_owned(),
        ..TaskReleased::default()
    };
    let mut sent = Outgoing::event("task-coordinator", topology::WORK, TYPE, &event)
        .with_task("task-7", Some(3));
    sent.properties.reply_to = Some("answers".to_owned());
    sent.properties.correlation_id = Some("question-1".to_owned());
    broker.publish(sent.clone()).await.unwrap();
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 1);

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.id, sent.id);
    assert_eq!(delivery.queue, QUEUE);
    assert_eq!(delivery.routing_key, TYPE);
    assert_eq!(delivery.headers, sent.headers);
    assert_eq!(delivery.properties, sent.properties);
    assert_eq!(delivery.delivery_count, 0);
    assert_eq!(delivery.decode::<TaskReleased>().unwrap(), event);
    consumer.stop().await;
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
}

pub(crate) async fn many_are_published_in_order(broker: impl Broker) {
    let broker = declared(broker).await;
    let ids: Vec<String> = (0..20).map(|number| number.to_string()).collect();
    let results = broker
        .publish_all(ids.iter().map(|id| task(id)).collect())
        .await;
    assert_eq!(results.len(), 20);
    assert!(results.iter().all(Result::is_ok));

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    for id in &ids {
        assert_eq!(next(&mut deliveries).await.id, *id);
    }
    consumer.stop().await;
}

pub(crate) async fn each_binding_gets_its_events(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskFinished::default();
    let message = Outgoing::event("backend", topology::EVENTS, TaskFinished::NAME, &event);
    broker.publish(message).await.unwrap();
    assert_eq!(broker.depth(topology::COORDINATOR_EVENTS).await.unwrap(), 1);
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
    assert_eq!(broker.depth(topology::UNROUTABLE).await.unwrap(), 0);
}

pub(crate) async fn what_no_queue_wants_is_found(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskReleased::default();
    for exchange in [topology::WORK, topology::EVENTS] {
        let message = Outgoing::event("task-coordinator", exchange, "nobody.serves.this", &event);
        broker.publish(message).await.unwrap();
    }
    depth_reaches(&broker, topology::UNROUTABLE, 2).await;
}

pub(crate) async fn what_no_queue_wants_names_its_exchange(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskReleased::default();
    let mut message = Outgoing::event("shop", topology::EVENTS, "nobody.serves.this", &event);
    // What a sender says of it counts for nothing.
    let claim = ("x-first-exchange".to_owned(), topology::WORK.to_owned());
    message.headers.extend([claim]);
    let (handler, mut deliveries) = scripted(|delivery| {
        let first = delivery.delivery_count == 0;
        Box::pin(async move {
            if first {
                Outcome::Retry(Duration::from_millis(100))
            } else {
                Outcome::Done
            }
        })
    });
    broker.publish(message).await.unwrap();
    let consumer = broker
        .consume(topology::UNROUTABLE, 1, handler)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(next(&mut deliveries).await.exchange, topology::EVENTS);
    }
    consumer.stop().await;
}

pub(crate) async fn a_full_queue_refuses(broker: impl Broker) {
    let broker = declared(broker).await;
    let small = Queue {
        name: "small".to_owned(),
        delivery_limit: None,
        dead_letter_exchange: None,
        max_length: Some(2),
    };
    broker
        .declare(&Topology {
            queues: vec![small],
            ..Topology::default()
        })
        .await
        .unwrap();
    let message = |id: &str| Outgoing {
        exchange: String::new(),
        routing_key: "small".to_owned(),
        ..task(id)
    };
    let mut taken = 0;
    let refused = loop {
        match broker.publish(message("a")).await {
            Ok(()) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, BrokerError::Full(queue) if queue == "small"));
    // RabbitMQ refuses when the bound is passed, not when it is met.
    assert!((2..=3).contains(&taken), "{taken}");
    depth_reaches(&broker, "small", taken).await;

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume("small", 1, handler).await.unwrap();
    for _ in 0..taken {
        next(&mut deliveries).await;
    }
    consumer.stop().await;
    depth_reaches(&broker, "small", 0).await;
    broker.publish(message("b")).await.unwrap();
}

pub(crate) async fn the_largest_headers_arrive_whole(broker: impl Broker) {
    let broker = declared(broker).await;
    let mut heavy = task("heavy");
    heavy
        .headers
        .insert("note".to_owned(), "x".repeat(60 << 10));
    heavy.body = vec![b'y'; 200 << 10].into();
    broker.publish(heavy.clone()).await.unwrap();
    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.headers, heavy.headers);
    assert_eq!(delivery.body, heavy.body);
    consumer.stop().await;
}

pub(crate) async fn what_no_broker_can_carry_is_refused(broker: impl Broker) {
    let broker = declared(broker).await;
    let mut heavy = task("heavy");
    let header = "x".repeat(1 << 20);
    heavy.headers.insert("note".to_owned(), header);
    let long = Outgoing {
        routing_key: "k".repeat(256),
        ..task("long")
    };
    let results = broker
        .publish_all(vec![task("before"), heavy, long, task("after")])
        .await;
    assert!(results[0].is_ok() && results[3].is_ok(), "{results:?}");
    for refused in &results[1..3] {
        assert!(matches!(refused, Err(BrokerError::Unfit(_))), "{refused:?}");
    }
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 2);
}
