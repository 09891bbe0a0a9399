//! What every broker promises, run over each implementation.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sutazai_messaging::memory::{Limits, MemoryBroker};
use sutazai_messaging::message::{HEADER_DEAD_QUEUE, HEADER_REASON, REASON_DELIVERY_LIMIT};
use sutazai_messaging::topology::{self, Queue, Topology};
use sutazai_messaging::{Broker, BrokerError, Delivery, Handler, Outcome, Outgoing};
use sutazai_proto::events::EventType;
use sutazai_proto::tasks::v1::{TaskFinished, TaskReleased};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(10);
const TYPE: &str = "llm.generate";
const QUEUE: &str = "work.llm.generate";

type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A handler made of a function; each delivery is seen before it is answered.
struct Scripted<F> {
    seen: mpsc::Sender<Delivery>,
    answer: F,
}

#[async_trait]
impl<F: Fn(Delivery) -> Answer + Send + Sync + 'static> Handler for Scripted<F> {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        self.seen.send(delivery.clone()).await.unwrap();
        (self.answer)(delivery).await
    }
}

/// Returns a handler, and what it sees.
fn scripted<F>(answer: F) -> (Arc<dyn Handler>, mpsc::Receiver<Delivery>)
where
    F: Fn(Delivery) -> Answer + Send + Sync + 'static,
{
    let (seen, deliveries) = mpsc::channel(1_000);
    (Arc::new(Scripted { seen, answer }), deliveries)
}

/// Returns a handler that is always done, and what it sees.
fn collector() -> (Arc<dyn Handler>, mpsc::Receiver<Delivery>) {
    scripted(|_| Box::pin(async { Outcome::Done }))
}

async fn next(deliveries: &mut mpsc::Receiver<Delivery>) -> Delivery {
    timeout(PATIENCE, deliveries.recv())
        .await
        .expect("no delivery came")
        .unwrap()
}

fn task(id: &str) -> Outgoing {
    let event = TaskReleased::default();
    Outgoing::event("task-coordinator", topology::WORK, TYPE, &event).with_id(id)
}

/// Declares the platform and one queue of work.
async fn declared<B: Broker>(broker: B) -> B {
    let mut topology = topology::platform();
    let (queue, binding) = topology::work_queue(TYPE);
    topology.queues.push(queue);
    topology.bindings.push(binding);
    broker.declare(&topology).await.unwrap();
    broker
}

async fn depth_reaches(broker: &impl Broker, queue: &str, expected: u64) {
    let started = Instant::now();
    loop {
        let depth = broker.depth(queue).await.unwrap();
        if depth == expected {
            return;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "{queue} holds {depth} messages, not {expected}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_confirmed_message_arrives_whole(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskReleased {
        r#type: TYPE.to_owned(),
        ..TaskReleased::default()
    };
    let sent = Outgoing::event("task-coordinator", topology::WORK, TYPE, &event)
        .with_task("task-7", Some(3));
    broker.publish(sent.clone()).await.unwrap();
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 1);

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    let delivery = next(&mut deliveries).await;
    assert_eq!(delivery.id, sent.id);
    assert_eq!(delivery.queue, QUEUE);
    assert_eq!(delivery.routing_key, TYPE);
    assert_eq!(delivery.headers, sent.headers);
    assert_eq!(delivery.delivery_count, 0);
    assert_eq!(delivery.decode::<TaskReleased>().unwrap(), event);
    consumer.stop().await;
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
}

async fn many_are_published_in_order(broker: impl Broker) {
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

async fn each_binding_gets_its_events(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskFinished::default();
    let message = Outgoing::event("backend", topology::EVENTS, TaskFinished::NAME, &event);
    broker.publish(message).await.unwrap();
    assert_eq!(broker.depth(topology::COORDINATOR_EVENTS).await.unwrap(), 1);
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
    assert_eq!(broker.depth(topology::UNROUTABLE).await.unwrap(), 0);
}

async fn what_no_queue_wants_is_found(broker: impl Broker) {
    let broker = declared(broker).await;
    let event = TaskReleased::default();
    for exchange in [topology::WORK, topology::EVENTS] {
        let message = Outgoing::event("task-coordinator", exchange, "nobody.serves.this", &event);
        broker.publish(message).await.unwrap();
    }
    depth_reaches(&broker, topology::UNROUTABLE, 2).await;
}

async fn a_panic_gives_the_delivery_back(broker: impl Broker) {
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

async fn the_sixth_delivery_is_the_last(broker: impl Broker) {
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

async fn dead_letter(broker: &impl Broker) -> Delivery {
    let (handler, mut letters) = collector();
    let consumer = broker
        .consume(topology::DEAD_LETTERS, 1, handler)
        .await
        .unwrap();
    let letter = next(&mut letters).await;
    consumer.stop().await;
    letter
}

async fn a_rejected_message_says_why(broker: impl Broker) {
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
    assert_eq!(letter.headers[HEADER_REASON], "unknown_event");
    assert_eq!(letter.headers[HEADER_DEAD_QUEUE], QUEUE);
    assert_eq!(broker.depth(QUEUE).await.unwrap(), 0);
    assert!(deliveries.try_recv().is_err(), "it came again");
}

async fn a_retry_waits_and_lets_others_pass(broker: impl Broker) {
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

async fn prefetch_bounds_the_handlers(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (handler, mut deliveries) = scripted({
        let (gate, running, most) = (gate.clone(), running.clone(), most.clone());
        move |_| {
            let (gate, running, most) = (gate.clone(), running.clone(), most.clone());
            Box::pin(async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                running.fetch_sub(1, Ordering::SeqCst);
                Outcome::Done
            })
        }
    });
    let consumer = broker.consume(QUEUE, 3, handler).await.unwrap();
    for number in 0..10 {
        broker.publish(task(&number.to_string())).await.unwrap();
    }
    for _ in 0..3 {
        next(&mut deliveries).await;
    }
    depth_reaches(&broker, QUEUE, 7).await;
    assert!(deliveries.try_recv().is_err(), "a fourth handler runs");
    gate.add_permits(10);
    for _ in 0..7 {
        next(&mut deliveries).await;
    }
    consumer.stop().await;
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

async fn stopping_waits_for_the_handlers(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let (handler, mut deliveries) = scripted({
        let (gate, ended) = (gate.clone(), ended.clone());
        move |_| {
            let (gate, ended) = (gate.clone(), ended.clone());
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                ended.fetch_add(1, Ordering::SeqCst);
                Outcome::Done
            })
        }
    });
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("in flight")).await.unwrap();
    broker.publish(task("waiting")).await.unwrap();
    next(&mut deliveries).await;

    let mut stopping = Box::pin(consumer.stop());
    let early = timeout(Duration::from_millis(100), &mut stopping).await;
    assert!(early.is_err(), "stopped with a handler at work");
    gate.add_permits(2);
    timeout(PATIENCE, stopping).await.unwrap();
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(
        deliveries.try_recv().is_err(),
        "a delivery came after the stop"
    );
    depth_reaches(&broker, QUEUE, 1).await;
}

async fn a_dropped_consumer_stops(broker: impl Broker) {
    let broker = declared(broker).await;
    let (handler, mut deliveries) = collector();
    drop(broker.consume(QUEUE, 1, handler).await.unwrap());
    // The handler is let go when nothing can be delivered to it any more.
    assert!(
        timeout(PATIENCE, deliveries.recv())
            .await
            .unwrap()
            .is_none()
    );
    broker.publish(task("waiting")).await.unwrap();
    depth_reaches(&broker, QUEUE, 1).await;
}

async fn consumers_share_a_queue(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let holding = |gate: &Arc<Semaphore>| {
        let gate = gate.clone();
        scripted(move |_| {
            let gate = gate.clone();
            Box::pin(async move {
                gate.acquire().await.unwrap().forget();
                Outcome::Done
            })
        })
    };
    let (one, mut deliveries_one) = holding(&gate);
    let (two, mut deliveries_two) = holding(&gate);
    let consumers = (
        broker.consume(QUEUE, 1, one).await.unwrap(),
        broker.consume(QUEUE, 1, two).await.unwrap(),
    );
    broker.publish(task("a")).await.unwrap();
    broker.publish(task("b")).await.unwrap();
    let (one, two) = (
        next(&mut deliveries_one).await,
        next(&mut deliveries_two).await,
    );
    assert_ne!(one.id, two.id);
    gate.add_permits(2);
    consumers.0.stop().await;
    consumers.1.stop().await;
}

async fn a_retry_finds_whoever_is_free(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let (handler, mut deliveries) = scripted({
        let gate = gate.clone();
        move |delivery| {
            let gate = gate.clone();
            Box::pin(async move {
                match (delivery.id.as_str(), delivery.delivery_count) {
                    ("later", 0) => return Outcome::Retry(Duration::from_millis(50)),
                    ("busy", _) => gate.acquire().await.unwrap().forget(),
                    _ => {}
                }
                Outcome::Done
            })
        }
    });
    let consumers = (
        broker.consume(QUEUE, 1, handler.clone()).await.unwrap(),
        broker.consume(QUEUE, 1, handler).await.unwrap(),
    );
    // Whichever of the two was told to wait for the retry, one of them is busy when it is due.
    broker.publish(task("later")).await.unwrap();
    assert_eq!(next(&mut deliveries).await.id, "later");
    broker.publish(task("busy")).await.unwrap();
    let mut seen = [
        next(&mut deliveries).await.id,
        next(&mut deliveries).await.id,
    ];
    seen.sort();
    assert_eq!(seen, ["busy", "later"]);
    gate.add_permits(1);
    consumers.0.stop().await;
    consumers.1.stop().await;
}

async fn a_full_queue_refuses(broker: impl Broker) {
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
    broker.publish(message("a")).await.unwrap();
    broker.publish(message("b")).await.unwrap();
    let refused = broker.publish(message("c")).await;
    assert!(matches!(refused, Err(BrokerError::Full(queue)) if queue == "small"));
    assert_eq!(broker.depth("small").await.unwrap(), 2);

    let (handler, mut deliveries) = collector();
    let consumer = broker.consume("small", 1, handler).await.unwrap();
    next(&mut deliveries).await;
    next(&mut deliveries).await;
    consumer.stop().await;
    broker.publish(message("c")).await.unwrap();
}

async fn declaring_again_changes_nothing(broker: impl Broker) {
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

async fn other_arguments_are_a_conflict(broker: impl Broker) {
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

async fn what_does_not_exist_is_named(broker: impl Broker) {
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

async fn a_ping_has_evidence(broker: impl Broker) {
    assert!(!broker.ping().await.unwrap().is_empty());
    assert!(!broker.kind().is_empty());
}

macro_rules! contract {
    ($implementation:ident: $make:expr, [$($test:ident => $promise:ident,)*]) => {
        mod $implementation {
            use super::*;

            $(
                #[tokio::test]
                async fn $test() {
                    super::$promise($make).await;
                }
            )*
        }
    };
    ($implementation:ident: $make:expr) => {
        contract!($implementation: $make, [
            tsk_04_a_confirmed_message_arrives_whole => a_confirmed_message_arrives_whole,
            tsk_04_many_are_published_in_order => many_are_published_in_order,
            tsk_03_each_binding_gets_its_events => each_binding_gets_its_events,
            tsk_04_what_no_queue_wants_is_found => what_no_queue_wants_is_found,
            tsk_07_a_panic_gives_the_delivery_back => a_panic_gives_the_delivery_back,
            tsk_07_the_sixth_delivery_is_the_last => the_sixth_delivery_is_the_last,
            tsk_07_a_rejected_message_says_why => a_rejected_message_says_why,
            tsk_07_a_retry_waits_and_lets_others_pass => a_retry_waits_and_lets_others_pass,
            tsk_02_prefetch_bounds_the_handlers => prefetch_bounds_the_handlers,
            tsk_04_stopping_waits_for_the_handlers => stopping_waits_for_the_handlers,
            tsk_04_a_dropped_consumer_stops => a_dropped_consumer_stops,
            tsk_06_consumers_share_a_queue => consumers_share_a_queue,
            tsk_06_a_retry_finds_whoever_is_free => a_retry_finds_whoever_is_free,
            tsk_02_a_full_queue_refuses => a_full_queue_refuses,
            tsk_03_declaring_again_changes_nothing => declaring_again_changes_nothing,
            tsk_03_other_arguments_are_a_conflict => other_arguments_are_a_conflict,
            tsk_03_what_does_not_exist_is_named => what_does_not_exist_is_named,
            a_ping_has_evidence => a_ping_has_evidence,
        ]);
    };
}

contract!(memory: MemoryBroker::new(Limits::default()));

#[tokio::test]
async fn tsk_02_the_brokers_own_bound_holds_too() {
    let broker = declared(MemoryBroker::new(Limits { queue_length: 1 })).await;
    broker.publish(task("a")).await.unwrap();
    let refused = broker.publish(task("b")).await;
    assert!(matches!(refused, Err(BrokerError::Full(queue)) if queue == QUEUE));
}

#[tokio::test]
async fn a_ping_leaves_nothing_behind() {
    let broker = MemoryBroker::new(Limits::default());
    for _ in 0..2 {
        let evidence = broker.ping().await.unwrap();
        assert!(evidence.ends_with("beside 0 queues"), "{evidence}");
    }
}
