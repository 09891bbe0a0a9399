//! The outbox and its relay.

use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use parking_lot::Mutex;
use rand::Rng;
use sutazai_messaging::{Delivery, Handler, Outcome as Handled};
use sutazai_proto::tasks::v1::TaskReleased;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::outbox::Step;
use crate::store::RELEASE_LOCK;

/// Remembers what a worker would get.
#[derive(Default)]
struct Inbox(Mutex<Vec<(Delivery, TaskReleased)>>);

#[async_trait]
impl Handler for Inbox {
    async fn handle(&self, delivery: Delivery) -> Handled {
        let released = delivery.decode::<TaskReleased>().unwrap();
        self.0.lock().push((delivery, released));
        Handled::Done
    }
}

impl Bench {
    /// Relays until nothing is due.
    async fn release(&self) -> usize {
        let mut released = 0;
        loop {
            match self.relay.step().await.unwrap() {
                Step {
                    released: 0,
                    failed: 0,
                } => return released,
                step => released += step.released,
            }
        }
    }

    /// Takes `count` messages out of a work queue.
    async fn take(&self, task_type: &str, count: usize) -> Vec<(Delivery, TaskReleased)> {
        let inbox = Arc::new(Inbox::default());
        let queue = format!("work.{task_type}");
        let consumer = self.broker.consume(&queue, 1, inbox.clone()).await.unwrap();
        eventually(|| inbox.0.lock().len() >= count).await;
        consumer.stop().await;
        let taken = std::mem::take(&mut *inbox.0.lock());
        assert_eq!(taken.len(), count);
        taken
    }
}

async fn eventually(mut done: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(SOON, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("it did not happen in time");
}

#[tokio::test]
async fn a_release_carries_the_whole_task_and_no_attempt() {
    let bench = Bench::start().await;
    bench.worker("w", 1).await;
    let task = bench.submit().await;
    assert_eq!(bench.release().await, 1);
    let (delivery, released) = bench.take(TYPE, 1).await.remove(0);
    assert_eq!(released.task_id, task.to_string());
    assert_eq!(released.input.unwrap().data, Bytes::from("{\"n\":1}"));
    assert_eq!(
        (released.tenant_id.as_str(), released.subject.as_str()),
        (TENANT, "alice")
    );
    assert_eq!(released.roles, ["user"]);
    assert_eq!(released.attempt_timeout.unwrap().seconds, 600);
    assert_eq!(delivery.headers["task-id"], task.to_string());
    assert_eq!(
        delivery.headers["traceparent"], "00-aa-bb-01",
        "the trace of the submission"
    );
    assert_eq!(bench.kinds(task).await, ["created", "released"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_01_fifty_writers_and_no_row_is_skipped() {
    const WRITERS: usize = 50;
    const EACH: usize = 40;
    // A confirm that a busy machine is late with would be a release that counts as lost.
    let rules = Rules {
        publish: Duration::from_secs(600),
        ..Rules::default()
    };
    let bench = Arc::new(Bench::with(rules).await);
    let worker = bench.worker("w", 10_000).await;
    let writers = (0..WRITERS).map(|_| {
        let bench = bench.clone();
        tokio::spawn(async move {
            for _ in 0..EACH {
                let pause = rand::rng().random_range(0..4);
                tokio::time::sleep(Duration::from_millis(pause)).await;
                bench.submit().await;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    let stop = CancellationToken::new();
    let relays = (0..2).map(|_| {
        let (relay, stop) = (bench.relay.clone(), stop.clone());
        // Both at once in the life of one broker: neither makes due what the other has just sent.
        tokio::spawn(async move { relay.go_on(&stop).await })
    });
    let relays: Vec<_> = relays.collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let mut tasks: Vec<String> = bench
        .take(TYPE, WRITERS * EACH)
        .await
        .into_iter()
        .map(|(_, r)| r.task_id)
        .collect();
    tasks.sort_unstable();
    tasks.dedup();
    assert_eq!(
        tasks.len(),
        WRITERS * EACH,
        "each was released, and none twice"
    );
    stop.cancel();
    join_all(relays).await;
    bench.report(&worker, 10_000).await;
    assert_eq!(
        bench
            .count("select count(*) from outbox where phase <> 'released'")
            .await,
        0
    );
    assert_eq!(
        bench
            .count("select count(*) from tasks where not released")
            .await,
        0
    );
}

#[tokio::test]
async fn tsk_06_no_more_is_released_than_workers_have_room_for() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 3).await;
    for _ in 0..20 {
        bench.submit().await;
    }
    assert_eq!(bench.release().await, 6, "two for each free slot");
    assert_eq!(bench.release().await, 0);

    let taken = bench.take(TYPE, 6).await;
    let ids: Vec<TaskId> = taken
        .iter()
        .map(|(_, r)| r.task_id.parse().unwrap())
        .collect();
    let attempt = bench.claim(&worker, ids[0]).await;
    assert_eq!(bench.release().await, 0, "two free slots, five wait");
    bench.finish(attempt, &worker, success()).await;
    assert_eq!(bench.release().await, 1, "three free slots, five wait");
    bench.report(&worker, 0).await;
    for id in &ids[1..] {
        bench.claim(&worker, *id).await;
    }
    assert_eq!(bench.release().await, 0, "no slot is free");
    bench.worker("other", 2).await;
    bench.report(&worker, 0).await;
    assert_eq!(bench.release().await, 3, "two slots elsewhere, one waits");

    bench.pass(16).await;
    assert_eq!(
        bench.release().await,
        0,
        "workers that are silent have no slots"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_06_two_relays_do_not_give_out_the_same_room() {
    let bench = Bench::start().await;
    bench.worker("w", 3).await;
    for _ in 0..30 {
        bench.submit().await;
    }
    // Another relay has chosen its six, and has not committed yet.
    let mut other = bench.db.pool().begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(RELEASE_LOCK)
        .execute(&mut *other)
        .await
        .unwrap();
    sqlx::query(
        "update outbox set phase = 'released', message_id = gen_random_uuid(),
                           due_at = now() + interval '1 hour'
         where task_id in (select task_id from outbox order by task_id limit 6)",
    )
    .execute(&mut *other)
    .await
    .unwrap();
    let store = bench.store.clone();
    let picking = tokio::spawn(async move { store.pick_releases().await.unwrap().len() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    other.commit().await.unwrap();
    assert_eq!(picking.await.unwrap(), 0, "there is no room left");
}

#[tokio::test]
async fn tsk_12_what_is_urgent_is_released_first() {
    let bench = Bench::start().await;
    bench.worker("w", 4).await;
    for priority in [0, 5, 9, 1, 5, 9, 3, 0] {
        bench
            .submit_as(Submission {
                priority,
                ..submission()
            })
            .await;
    }
    assert_eq!(bench.release().await, 8);
    let mut order = Vec::new();
    for (_, released) in bench.take(TYPE, 8).await {
        let task = bench.task(released.task_id.parse().unwrap()).await;
        order.push((task.spec.priority, task.id));
    }
    let mut expected = order.clone();
    expected.sort_by_key(|(priority, id)| (std::cmp::Reverse(*priority), *id));
    assert_eq!(order, expected, "by priority, then by age");
    assert_eq!(order[0].0, 9);
}

#[tokio::test]
async fn tsk_01_what_nobody_claims_is_released_again() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 1).await;
    let task = bench.submit().await;
    assert_eq!(bench.release().await, 1);
    bench.pass(59).await;
    bench.report(&worker, 1).await;
    assert_eq!(bench.release().await, 0);
    bench.pass(2).await;
    assert_eq!(bench.release().await, 1);
    assert_eq!(bench.waiting(TYPE).await, 2);
    assert_eq!(bench.kinds(task).await, ["created", "released", "released"]);
    bench.claim(&worker, task).await;
    let repeated = bench.leases.claim(&worker, &[task]).await.unwrap();
    assert_eq!(
        repeated,
        [Claimed::Refused(crate::task::Refusal::Held)],
        "started once"
    );
    bench.pass(120).await;
    bench.report(&worker, 1).await;
    assert_eq!(bench.release().await, 0, "a running task is not released");
}

#[tokio::test]
async fn tsk_01_a_broker_in_the_process_forgets_and_its_successor_gets_all_again() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let (waiting, running) = (bench.submit().await, bench.submit().await);
    assert_eq!(bench.release().await, 2);
    let attempt = bench.claim(&worker, running).await;

    let second = bench.restarted().await;
    assert_eq!(second.waiting(TYPE).await, 0);
    let stop = CancellationToken::new();
    let (relay, stopped) = (second.relay.clone(), stop.clone());
    let relaying = tokio::spawn(async move { relay.run(&stopped).await });
    let (_, released) = second.take_soon(TYPE).await;
    assert_eq!(released.task_id, waiting.to_string());
    stop.cancel();
    relaying.await.unwrap();
    assert_eq!(
        second.waiting(TYPE).await,
        0,
        "the running one is under its lease"
    );
    second.finish(attempt, &worker, success()).await;
    is(&second.task(running).await, State::Succeeded);
}

impl Bench {
    /// Waits for the queue to be declared and takes its first message.
    async fn take_soon(&self, task_type: &str) -> (Delivery, TaskReleased) {
        let waited = tokio::time::timeout(SOON, async {
            while self.waiting(task_type).await == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("nothing was released");
        self.take(task_type, 1).await.remove(0)
    }
}

/// Takes over every second message only.
struct Moody {
    inner: MemoryBroker,
    asked: AtomicUsize,
}

#[async_trait]
impl Broker for Moody {
    async fn declare(
        &self,
        topology: &topology::Topology,
    ) -> Result<(), sutazai_messaging::BrokerError> {
        self.inner.declare(topology).await
    }

    async fn publish(
        &self,
        message: sutazai_messaging::Outgoing,
    ) -> Result<(), sutazai_messaging::BrokerError> {
        if self.asked.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            return Err(sutazai_messaging::BrokerError::Full("work".to_owned()));
        }
        self.inner.publish(message).await
    }

    async fn consume(
        &self,
        queue: &str,
        prefetch: u16,
        handler: Arc<dyn Handler>,
    ) -> Result<sutazai_messaging::Consumer, sutazai_messaging::BrokerError> {
        self.inner.consume(queue, prefetch, handler).await
    }

    async fn depth(&self, queue: &str) -> Result<u64, sutazai_messaging::BrokerError> {
        self.inner.depth(queue).await
    }

    fn durable(&self) -> bool {
        true
    }

    fn kind(&self) -> &'static str {
        "moody"
    }

    async fn ping(&self) -> Result<String, sutazai_messaging::BrokerError> {
        self.inner.ping().await
    }
}

#[tokio::test]
async fn tsk_04_what_the_broker_does_not_confirm_is_tried_again() {
    let bench = Bench::start().await;
    bench.worker("w", 10).await;
    let moody = Arc::new(Moody {
        inner: bench.broker.clone(),
        asked: AtomicUsize::new(0),
    });
    let relay = Relay::new(
        bench.store.clone(),
        moody,
        bench.watchers.clone(),
        Bell::default(),
    );
    let tasks = [bench.submit().await, bench.submit().await];
    assert_eq!(
        relay.step().await.unwrap(),
        Step {
            released: 1,
            failed: 1
        }
    );
    assert_eq!(relay.step().await.unwrap(), Step::default(), "not at once");
    assert_eq!(
        bench
            .count("select count(*) from tasks where released")
            .await,
        1
    );
    bench.pass(2).await;
    assert_eq!(
        relay.step().await.unwrap(),
        Step {
            released: 0,
            failed: 1
        }
    );
    bench.pass(2).await;
    assert_eq!(
        relay.step().await.unwrap(),
        Step {
            released: 1,
            failed: 0
        }
    );
    for task in tasks {
        assert_eq!(bench.kinds(task).await, ["created", "released"]);
    }
}

#[tokio::test]
async fn tsk_07_a_retry_is_not_released_before_its_time() {
    let hour = Duration::from_secs(3600);
    let retry = RetryPolicy::new(hour * 1000, hour * 1000);
    let bench = Bench::with(Rules {
        retry,
        ..Rules::default()
    })
    .await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    bench.finish(attempt, &worker, failed(true)).await;
    let task = bench.task(attempt.task).await;
    let wait = (task.not_before.unwrap() - task.updated_at).num_seconds();
    assert_eq!(bench.release().await, 0);
    let refused = bench.leases.claim(&worker, &[attempt.task]).await.unwrap();
    assert_eq!(refused, [Claimed::Refused(crate::task::Refusal::Early)]);

    bench.pass(i32::try_from(wait).unwrap() + 1).await;
    bench.report(&worker, 5).await;
    assert_eq!(bench.release().await, 1);
    assert_eq!(bench.claim(&worker, attempt.task).await.attempt, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tsk_06_a_release_does_not_wait_until_the_one_before_is_written_down() {
    let bench = Bench::start().await;
    bench.worker("w", 5).await;
    let first = bench.submit().await;
    let mut other = bench.db.pool().begin().await.unwrap();
    sqlx::query("select from tasks where id = $1 for update")
        .bind(first.as_uuid())
        .execute(&mut *other)
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let (relay, stopped) = (bench.relay.clone(), stop.clone());
    let relaying = tokio::spawn(async move { relay.run(&stopped).await });
    let (_, released) = bench.take_soon(TYPE).await;
    assert_eq!(released.task_id, first.to_string());
    let second = bench.submit().await;
    let (_, released) = bench.take_soon(TYPE).await;
    assert_eq!(released.task_id, second.to_string());

    assert_eq!(bench.kinds(first).await, ["created"], "it could not be");
    other.commit().await.unwrap();
    stop.cancel();
    relaying.await.unwrap();
    for task in [first, second] {
        assert_eq!(bench.kinds(task).await, ["created", "released"]);
    }
}

#[tokio::test]
async fn tsk_01_a_choice_that_a_crash_took_back_starts_the_task_once() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 1).await;
    let task = bench.submit().await;
    assert_eq!(bench.release().await, 1);
    // The server forgot it: its commit had not waited for the disk.
    sqlx::query("update outbox set phase = 'ready', message_id = null")
        .execute(bench.db.pool())
        .await
        .unwrap();
    assert_eq!(bench.release().await, 1);
    let messages = bench.take(TYPE, 2).await;
    assert!(messages.iter().all(|(_, r)| r.task_id == task.to_string()));
    bench.claim(&worker, task).await;
    let repeated = bench.leases.claim(&worker, &[task]).await.unwrap();
    assert_eq!(repeated, [Claimed::Refused(crate::task::Refusal::Held)]);
}

#[tokio::test]
async fn a_claim_that_overtakes_the_confirm_leaves_the_history_in_order() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 1).await;
    let task = bench.submit().await;
    let picked = bench.store.pick_releases().await.unwrap();
    bench.claim(&worker, task).await;
    let refs: Vec<_> = picked.iter().map(|picked| picked.release).collect();
    assert!(
        bench
            .store
            .confirm_releases(&refs)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(bench.kinds(task).await, ["created", "released", "started"]);
}
