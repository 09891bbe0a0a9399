//! What the promises are tested with.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use async_trait::async_trait;
use sutazai_messaging::{Broker, Delivery, Handler, Outcome, Outgoing, topology};
use sutazai_proto::tasks::v1::TaskReleased;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const TYPE: &str = "llm.generate";
pub(crate) const QUEUE: &str = "work.llm.generate";

pub(crate) type Answer = Pin<Box<dyn Future<Output = Outcome> + Send>>;

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
pub(crate) fn scripted<F>(answer: F) -> (Arc<dyn Handler>, mpsc::Receiver<Delivery>)
where
    F: Fn(Delivery) -> Answer + Send + Sync + 'static,
{
    let (seen, deliveries) = mpsc::channel(1_000);
    (Arc::new(Scripted { seen, answer }), deliveries)
}

/// Returns a handler that has its own clone of something in each answer, and what it sees.
pub(crate) fn sharing<S, F>(shared: &S, answer: F) -> (Arc<dyn Handler>, mpsc::Receiver<Delivery>)
where
    S: Clone + Send + Sync + 'static,
    F: Fn(S, Delivery) -> Answer + Send + Sync + 'static,
{
    let shared = shared.clone();
    scripted(move |delivery| answer(shared.clone(), delivery))
}

/// Returns a handler that is always done, and what it sees.
pub(crate) fn collector() -> (Arc<dyn Handler>, mpsc::Receiver<Delivery>) {
    scripted(|_| Box::pin(async { Outcome::Done }))
}

pub(crate) async fn next(deliveries: &mut mpsc::Receiver<Delivery>) -> Delivery {
    timeout(PATIENCE, deliveries.recv())
        .await
        .expect("no delivery came")
        .unwrap()
}

pub(crate) fn task(id: &str) -> Outgoing {
    let event = TaskReleased::default();
    Outgoing::event("task-coordinator", topology::WORK, TYPE, &event).with_id(id)
}

/// Declares the platform and one queue of work.
pub(crate) async fn declared<B: Broker>(broker: B) -> B {
    let mut topology = topology::platform();
    let (queue, binding) = topology::work_queue(TYPE);
    topology.queues.push(queue);
    topology.bindings.push(binding);
    broker.declare(&topology).await.unwrap();
    broker
}

pub(crate) async fn depth_reaches(broker: &impl Broker, queue: &str, expected: u64) {
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

pub(crate) async fn dead_letter(broker: &impl Broker) -> Delivery {
    let (handler, mut letters) = collector();
    let consumer = broker
        .consume(topology::DEAD_LETTERS, 1, handler)
        .await
        .unwrap();
    let letter = next(&mut letters).await;
    consumer.stop().await;
    letter
}
