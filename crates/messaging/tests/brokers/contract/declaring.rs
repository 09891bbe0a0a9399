//! What exists, and what does not.

use sutazai_messaging::topology::{self, Queue, Topology};
use sutazai_messaging::{Broker, BrokerError, Outgoing};

use crate::bench::{QUEUE, TYPE, collector, declared, task};

pub(crate) async fn declaring_again_changes_nothing(broker: impl Broker) {
    let broker = declared(broker).await;
    broker.publish(task("waiting")).await.unwrap();
    let broker = declared(broker).await;
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 1);
    broker.publish(task("once")).await.unwrap();
    assert_eq!(
        broker.depth(QUEUE).await.unwrap(),
        2,
        "the binding was doubled"
    );
}

pub(crate) async fn other_arguments_are_a_conflict(broker: impl Broker) {
    let broker = declared(broker).await;
    let (queue, _) = topology::work_queue(TYPE);
    let other = Queue {
        delivery_limit: Some(9),
        ..queue
    };
    let result = broker
        .declare(&Topology {
            queues: vec![other],
            ..Topology::default()
        })
        .await;
    assert!(matches!(result, Err(BrokerError::Conflict(name)) if name == QUEUE));

    let mut exchange = topology::platform().exchanges.pop().unwrap();
    let name = exchange.name.clone();
    exchange.alternate = None;
    let result = broker
        .declare(&Topology {
            exchanges: vec![exchange],
            ..Topology::default()
        })
        .await;
    assert!(matches!(result, Err(BrokerError::Conflict(conflict)) if conflict == name));
}

pub(crate) async fn what_does_not_exist_is_named(broker: impl Broker) {
    let broker = declared(broker).await;
    let message = Outgoing {
        exchange: "nowhere".to_owned(),
        ..task("lost")
    };
    let result = broker.publish(message).await;
    assert!(matches!(result, Err(BrokerError::UnknownExchange(name)) if name == "nowhere"));
    let (handler, _deliveries) = collector();
    let result = broker.consume("nowhere", 1, handler).await;
    assert!(matches!(result, Err(BrokerError::UnknownQueue(name)) if name == "nowhere"));
    let result = broker.depth("nowhere").await;
    assert!(matches!(result, Err(BrokerError::UnknownQueue(name)) if name == "nowhere"));
    let (_, binding) = topology::work_queue("type.without.queue");
    let result = broker
        .declare(&Topology {
            bindings: vec![binding],
            ..Topology::default()
        })
        .await;
    assert!(
        matches!(result, Err(BrokerError::UnknownQueue(name)) if name == "work.type.without.queue")
    );
}

pub(crate) async fn a_ping_has_evidence(broker: impl Broker) {
    assert!(!broker.ping().await.unwrap().is_empty());
    assert!(!broker.kind().is_empty());
}
