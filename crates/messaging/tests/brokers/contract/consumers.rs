//! How many work at a time, and how they end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sutazai_messaging::{Broker, Outcome};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::bench::{
    Answer, PATIENCE, QUEUE, collector, declared, depth_reaches, next, sharing, task,
};

pub(crate) async fn prefetch_bounds_the_handlers(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let shared = (gate.clone(), running, most.clone());
    let (handler, mut deliveries) = sharing(&shared, |(gate, running, most), _| {
        Box::pin(async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            running.fetch_sub(1, Ordering::SeqCst);
            Outcome::Done
        })
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

pub(crate) async fn stopping_waits_for_the_handlers(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let ended = Arc::new(AtomicUsize::new(0));
    let shared = (gate.clone(), ended.clone());
    let (handler, mut deliveries) = sharing(&shared, |(gate, ended), _| {
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            ended.fetch_add(1, Ordering::SeqCst);
            Outcome::Done
        })
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

pub(crate) async fn a_dropped_consumer_stops(broker: impl Broker) {
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

pub(crate) async fn consumers_share_a_queue(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let holding = |gate: Arc<Semaphore>, _| -> Answer {
        Box::pin(async move {
            gate.acquire().await.unwrap().forget();
            Outcome::Done
        })
    };
    let (one, mut deliveries_one) = sharing(&gate, holding);
    let (two, mut deliveries_two) = sharing(&gate, holding);
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

pub(crate) async fn a_retry_finds_whoever_is_free(broker: impl Broker) {
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let (handler, mut deliveries) = sharing(&gate, |gate, delivery| {
        Box::pin(async move {
            match (delivery.id.as_str(), delivery.delivery_count) {
                ("later", 0) => return Outcome::Retry(Duration::from_millis(50)),
                ("busy", _) => gate.acquire().await.unwrap().forget(),
                _ => {}
            }
            Outcome::Done
        })
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

pub(crate) async fn what_is_at_work_is_not_acknowledged_with_what_is_done(broker: impl Broker) {
    const MANY: usize = 10;
    let broker = declared(broker).await;
    let gate = Arc::new(Semaphore::new(0));
    let (handler, mut deliveries) = sharing(&gate, |gate, delivery| {
        Box::pin(async move {
            if delivery.id == "0" && delivery.delivery_count == 0 {
                gate.acquire().await.unwrap().forget();
                assert!(delivery.delivery_count > 0, "this panic is wanted");
            }
            Outcome::Done
        })
    });
    let prefetch = u16::try_from(MANY).unwrap();
    let consumer = broker.consume(QUEUE, prefetch, handler).await.unwrap();
    // The second half arrives only because the first one was acknowledged, all but its first.
    for number in 0..2 * MANY {
        broker.publish(task(&number.to_string())).await.unwrap();
    }
    let mut seen = Vec::new();
    for _ in 0..2 * MANY {
        seen.push(next(&mut deliveries).await.id);
    }
    gate.add_permits(1);
    let again = next(&mut deliveries).await;
    assert_eq!((again.id.as_str(), again.delivery_count), ("0", 1));
    consumer.stop().await;
    assert!(deliveries.try_recv().is_err(), "another one came again");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 2 * MANY);
    depth_reaches(&broker, QUEUE, 0).await;
}
