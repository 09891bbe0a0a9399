//! What the broker says about messages, and who is told.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicConsumeOptions, BasicPublishOptions},
    types::FieldTable,
};
use sutazai_messaging::topology::WORK;
use sutazai_messaging::{Broker, BrokerError, Outcome, Outgoing};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};
use tokio_stream::StreamExt;

use crate::bench::{
    PATIENCE, QUEUE, TYPE, collector, declared, depth_reaches, next, sharing, task,
};
use crate::real::{Place, rabbit};

fn straight_to(queue: &str, id: &str) -> Outgoing {
    Outgoing {
        exchange: String::new(),
        routing_key: queue.to_owned(),
        ..task(id)
    }
}

#[tokio::test]
async fn trap_2_a_channel_that_the_broker_closed_is_replaced() {
    let broker = declared(rabbit().await).await;
    // More often than there are channels in the pool.
    for number in 0..20 {
        let lost = Outgoing {
            exchange: "nowhere".to_owned(),
            ..task("lost")
        };
        let result = broker.publish(lost).await;
        assert!(
            matches!(result, Err(BrokerError::UnknownExchange(_))),
            "{result:?}"
        );
        broker.publish(task(&number.to_string())).await.unwrap();
    }
    depth_reaches(&broker, QUEUE, 20).await;
}

#[tokio::test]
async fn trap_4_every_return_is_told_of_its_own_message() {
    let broker = declared(rabbit().await).await;
    let mut publishing = JoinSet::new();
    for number in 0..300 {
        let broker = broker.clone();
        let is_lost = number % 3 == 0;
        publishing.spawn(async move {
            let queue = if is_lost { "nobody" } else { QUEUE };
            (is_lost, broker.publish(straight_to(queue, "any")).await)
        });
    }
    while let Some(ended) = publishing.join_next().await {
        let (is_lost, result) = ended.unwrap();
        let is_told = matches!(result, Err(BrokerError::Unroutable { .. }));
        assert_eq!(is_told, is_lost, "{result:?}");
        assert!(is_told || result.is_ok(), "{result:?}");
    }
    let batch = vec![
        straight_to(QUEUE, "a"),
        straight_to("nobody", "b"),
        task("c"),
        task("d"),
        straight_to("nobody", "e"),
    ];
    let told = broker.publish_all(batch).await;
    let told: Vec<bool> = told.iter().map(Result::is_ok).collect();
    assert_eq!(told, [true, false, true, true, false]);
    depth_reaches(&broker, QUEUE, 203).await;
}

#[tokio::test]
async fn trap_4_an_answer_to_a_direct_reply_queue_is_not_called_lost() {
    let place = Place::new().await;
    let broker = declared(place.broker("answers")).await;
    let (handler, mut questions) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();

    let url = place.url();
    let asking = Connection::connect(&url, ConnectionProperties::default());
    let asking = asking.await.unwrap();
    let channel = asking.create_channel().await.unwrap();
    let options = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let (name, none) = ("amq.rabbitmq.reply-to", FieldTable::default());
    let answers = channel.basic_consume(name.into(), "".into(), options, none);
    let mut answers = answers.await.unwrap();
    let properties = BasicProperties::default().with_reply_to(name.into());
    let options = BasicPublishOptions::default();
    let asked = channel.basic_publish(WORK.into(), TYPE.into(), options, b"?", properties);
    asked.await.unwrap();

    let question = next(&mut questions).await;
    let reply_to = question.properties.reply_to.unwrap();
    broker
        .publish(straight_to(&reply_to, "answer"))
        .await
        .unwrap();
    let answer = timeout(PATIENCE, answers.next()).await.unwrap().unwrap();
    let id = answer.unwrap().properties.message_id().clone();
    assert_eq!(id.unwrap().as_str(), "answer");
    consumer.stop().await;
}

#[tokio::test]
async fn trap_6_a_delivery_is_never_settled_on_another_channel() {
    let place = Place::new().await;
    let broker = declared(place.broker("worker")).await;
    let gate = Arc::new(Semaphore::new(0));
    let (handler, mut deliveries) = sharing(&gate, |gate, delivery| {
        Box::pin(async move {
            if delivery.delivery_count == 0 {
                gate.acquire().await.unwrap().forget();
            }
            Outcome::Done
        })
    });
    let consumer = broker.consume(QUEUE, 2, handler).await.unwrap();
    broker.publish(task("a")).await.unwrap();
    broker.publish(task("b")).await.unwrap();
    let first = [
        next(&mut deliveries).await.id,
        next(&mut deliveries).await.id,
    ];
    assert_eq!(first, ["a", "b"]);

    // Both handlers are at work when their channel goes; their tags are 1 and 2, as are those of
    // the redelivered messages on the next channel.
    close_connections(&place).await;
    gate.add_permits(2);
    let mut again = [next(&mut deliveries).await, next(&mut deliveries).await];
    again.sort_by(|a, b| a.id.cmp(&b.id));
    let again = again.map(|delivery| (delivery.id, delivery.delivery_count));
    assert_eq!(again, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
    depth_reaches(&broker, QUEUE, 0).await;
    consumer.stop().await;
    assert!(
        deliveries.try_recv().is_err(),
        "a settled message came again"
    );
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
}

/// Lets the broker close every connection to the virtual host.
async fn close_connections(place: &Place) {
    let mut closed = 0;
    while closed < 2 {
        let connections = place.manage("GET", "vhosts", "connections", "").await;
        let connections: serde_json::Value = serde_json::from_str(&connections).unwrap();
        for connection in connections.as_array().unwrap() {
            let name = connection["name"].as_str().unwrap().replace(' ', "%20");
            let path = format!("/connections/{}", name.replace('>', "%3E"));
            let management = place.server.management();
            let answer = management.request("DELETE", &path, "").await.unwrap();
            closed += usize::from(answer.status == 204);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
