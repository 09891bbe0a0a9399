//! Messages to the coordinator, through the broker.

use async_trait::async_trait;
use sutazai_messaging::message::{HEADER_DEAD_QUEUE, HEADER_REASON};
use sutazai_messaging::{Consumer, Delivery, Handler, Outcome as Handled, Outgoing};
use sutazai_proto::events::EventType;
use sutazai_proto::producers::{CONTENT_TYPE, EventData, Submit};
use sutazai_proto::tasks::v1::{
    AttemptFailure, Payload as WirePayload, TaskFinished, task_finished,
};

use super::*;
use crate::consumer::{Rejected, Unroutable};

impl Bench {
    fn unroutable(&self) -> Unroutable {
        Unroutable {
            intake: Arc::new(self.intake()),
            events: self.events(),
            relay: self.relay.clone(),
            letters: self.letters(),
        }
    }

    async fn consume(&self) -> Vec<Consumer> {
        let (events, letters) = (self.events(), self.letters());
        let handlers: [(&str, Arc<dyn Handler>); 3] = [
            (topology::COORDINATOR_EVENTS, Arc::new(events.clone())),
            (topology::UNROUTABLE, Arc::new(self.unroutable())),
            (
                topology::DEAD_LETTERS,
                Arc::new(Rejected { events, letters }),
            ),
        ];
        let mut consumers = Vec::new();
        for (queue, handler) in handlers {
            consumers.push(self.broker.consume(queue, 4, handler).await.unwrap());
        }
        consumers
    }

    async fn until(&self, statement: &'static str, expected: i64) {
        let waited = tokio::time::timeout(SOON, async {
            while self.count(statement).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited
            .await
            .unwrap_or_else(|_| panic!("not in time: {statement}"));
    }
}

async fn stop(consumers: Vec<Consumer>) {
    for consumer in consumers {
        consumer.stop().await;
    }
}

fn finished(attempt: AttemptRef, worker: &Worker, outcome: task_finished::Outcome) -> Outgoing {
    let event = TaskFinished {
        task_id: attempt.task.to_string(),
        attempt: attempt.attempt,
        worker: worker.as_str().to_owned(),
        outcome: Some(outcome),
    };
    Outgoing::event("test", topology::EVENTS, TaskFinished::NAME, &event)
}

fn wire_success() -> task_finished::Outcome {
    task_finished::Outcome::Succeeded(WirePayload {
        data: "{}".into(),
        content_type: "application/json".to_owned(),
    })
}

#[tokio::test]
async fn results_arrive_through_the_broker_once_each() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let consumers = bench.consume().await;
    let attempt = bench.begin(&worker, TYPE).await;
    let message = finished(attempt, &worker, wire_success());
    bench.broker.publish(message.clone()).await.unwrap();
    bench.broker.publish(message).await.unwrap();
    let failing = bench.begin(&worker, TYPE).await;
    let nothing = task_finished::Outcome::Failed(AttemptFailure::default());
    bench
        .broker
        .publish(finished(failing, &worker, nothing))
        .await
        .unwrap();
    bench
        .until(
            "select count(*) from tasks where finished_at is not null",
            2,
        )
        .await;
    bench.until("select count(*) from inbox", 2).await;
    stop(consumers).await;
    is(&bench.task(attempt.task).await, State::Succeeded);
    let failed = bench.task(failing.task).await;
    is(&failed, State::Failed);
    assert_eq!(failed.error.unwrap().reason(), "unnamed_failure");
    assert_eq!(ends(&bench.history(attempt.task).await), 1);
}

#[tokio::test]
async fn a_result_that_is_too_large_fails_the_task_and_says_so() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let consumers = bench.consume().await;
    let attempt = bench.begin(&worker, TYPE).await;
    let data = vec![b'x'; Payload::LIMIT + 1].into();
    let large = WirePayload {
        data,
        content_type: "text/plain".to_owned(),
    };
    let outcome = task_finished::Outcome::Succeeded(large);
    bench
        .broker
        .publish(finished(attempt, &worker, outcome))
        .await
        .unwrap();
    bench
        .until("select count(*) from tasks where state = 'failed'", 1)
        .await;
    stop(consumers).await;
    assert_eq!(
        bench.task(attempt.task).await.error.unwrap().reason(),
        "result_too_large"
    );
}

#[tokio::test]
async fn g_23_a_message_that_nobody_can_read_is_kept_and_not_looped() {
    let bench = Bench::start().await;
    let consumers = bench.consume().await;
    let outgoing = |id: &str, kind: &str, body: &'static [u8]| {
        let event = Outgoing::event(
            "test",
            topology::EVENTS,
            TaskFinished::NAME,
            &TaskFinished::default(),
        );
        let mut event = event.with_id(id);
        event.headers.insert("ce-type".to_owned(), kind.to_owned());
        event.body = body.into();
        event
    };
    for message in [
        outgoing("m-1", "task.finished.v9", b""),
        outgoing("m-2", TaskFinished::NAME, b"\xff\xff\xff"),
        outgoing("m-3", TaskFinished::NAME, b""),
        outgoing("m-4", "nul\0l", b"\0"),
    ] {
        bench.broker.publish(message).await.unwrap();
    }
    bench.until("select count(*) from stray_messages", 4).await;
    stop(consumers).await;
    for queue in [topology::COORDINATOR_EVENTS, topology::DEAD_LETTERS] {
        assert_eq!(bench.broker.depth(queue).await.unwrap(), 0, "{queue}");
    }
    let queue: String =
        sqlx::query_scalar("select queue from stray_messages where message_id = 'm-1'")
            .fetch_one(bench.db.pool())
            .await
            .unwrap();
    assert_eq!(queue, topology::COORDINATOR_EVENTS);
}

#[tokio::test]
async fn tsk_03_what_no_queue_takes_is_released_again() {
    let bench = Bench::start().await;
    bench.worker("w", 5).await;
    let task = bench.submit().await;
    // As if somebody had removed the queue after it was declared.
    let picked = bench.store.pick_releases().await.unwrap().remove(0);
    let lost = sutazai_proto::tasks::v1::TaskReleased {
        task_id: task.to_string(),
        r#type: TYPE.to_owned(),
        ..Default::default()
    };
    let message = Outgoing::event("test", topology::WORK, TYPE, &lost)
        .with_id(picked.release.message.to_string());
    bench.broker.publish(message).await.unwrap();
    assert_eq!(bench.broker.depth(topology::UNROUTABLE).await.unwrap(), 1);
    let consumers = bench.consume().await;
    bench
        .until("select count(*) from outbox where phase = 'waiting'", 1)
        .await;
    stop(consumers).await;
    bench.pass(2).await;
    assert_eq!(bench.relay.step().await.unwrap().released, 1);
    assert_eq!(bench.waiting(TYPE).await, 1, "in its queue now");
}

#[tokio::test]
async fn sec_10_what_a_producer_sent_before_the_intake_had_a_queue_is_never_taken_for_ours() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    let early = MemoryBroker::new(Limits::default());
    let mut without_intake = topology::platform();
    let elsewhere = |queue: &str| queue != topology::INTAKE;
    without_intake.queues.retain(|queue| elsewhere(&queue.name));
    let bindings = &mut without_intake.bindings;
    bindings.retain(|binding| elsewhere(&binding.queue));
    early.declare(&without_intake).await.unwrap();

    // It names itself the result of a task that is somebody else's, and where it did not die.
    let mut forged = finished(attempt, &worker, wire_success());
    topology::TASKS.clone_into(&mut forged.exchange);
    for (name, claim) in [
        (HEADER_DEAD_QUEUE, topology::COORDINATOR_EVENTS),
        (HEADER_REASON, "bored"),
    ] {
        forged.headers.insert(name.to_owned(), claim.to_owned());
    }
    // What belongs to the intake is accepted, whatever it calls itself outside.
    let submission = serde_json::json!({
        "specversion": "1.0", "id": "order-1", "source": "/shop",
        "type": Submit::NAME,
        "data": {"type": TYPE, "input": {"n": 1}},
    });
    let order = Outgoing {
        content_type: CONTENT_TYPE.to_owned(),
        body: submission.to_string().into(),
        ..forged.clone()
    };
    for message in [forged, order] {
        early.publish(message).await.unwrap();
    }
    let handler = Arc::new(bench.unroutable());
    let consumer = early.consume(topology::UNROUTABLE, 1, handler).await;
    bench.until("select count(*) from tasks", 2).await;
    bench.until("select count(*) from stray_messages", 1).await;
    stop(vec![consumer.unwrap()]).await;

    is(&bench.task(attempt.task).await, State::Running);
    assert_eq!(early.depth(topology::UNROUTABLE).await.unwrap(), 0);
    let (queue, reason): (String, String) =
        sqlx::query_as("select queue, reason from stray_messages")
            .fetch_one(bench.db.pool())
            .await
            .unwrap();
    assert_eq!(queue, topology::INTAKE, "where it is sent again");
    assert!(reason.starts_with("unsupported_media_type: "), "{reason}");
}

/// A worker that breaks on every delivery.
struct Broken;

#[async_trait]
impl Handler for Broken {
    async fn handle(&self, _: Delivery) -> Handled {
        Handled::Reject("input_unreadable".to_owned())
    }
}

#[tokio::test]
async fn r3_work_that_comes_back_dead_lettered_counts_as_an_attempt_until_it_is_parked() {
    let bench = Bench::with(hasty()).await;
    bench.worker("w", 5).await;
    let task = bench.submit().await;
    let mut consumers = bench.consume().await;
    assert_eq!(bench.relay.step().await.unwrap().released, 1);
    let broken = bench
        .broker
        .consume("work.llm.generate", 1, Arc::new(Broken))
        .await
        .unwrap();
    consumers.push(broken);
    for attempts in 1..=2 {
        bench
            .until("select attempt::bigint from tasks", attempts)
            .await;
        let waiting = bench.count("select count(*) from outbox").await;
        assert_eq!(waiting, 1, "released again");
        assert_eq!(bench.relay.step().await.unwrap().released, 1);
    }
    bench.until("select count(*) from dead_letters", 1).await;
    stop(consumers).await;
    let parked = bench.task(task).await;
    is(&parked, State::Failed);
    assert_eq!(parked.attempt, 3);
    let error = parked.error.unwrap();
    assert_eq!(error.reason(), "dead_lettered");
    assert!(
        error.message().contains("input_unreadable"),
        "{}",
        error.message()
    );
    assert_eq!(ends(&bench.history(task).await), 1);
}

#[tokio::test]
async fn an_old_dead_letter_does_not_touch_a_task_that_went_on() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let task = bench.submit().await;
    let give_up = async |release| {
        bench
            .tasks
            .give_up_release(release, "delivery_limit")
            .await
            .unwrap();
        bench.task(task).await
    };
    let first = bench.store.pick_releases().await.unwrap().remove(0).release;
    bench.pass(11).await;
    bench.report(&worker, 5).await;
    bench.store.ready_releases().await.unwrap();
    let second = bench.store.pick_releases().await.unwrap().remove(0).release;
    assert_ne!(first.message, second.message);
    assert_eq!(
        give_up(first).await.attempt,
        0,
        "it was released again meanwhile"
    );
    assert_eq!(give_up(second).await.attempt, 1);
    assert_eq!(give_up(second).await.attempt, 1, "once");

    bench.pass(60).await;
    bench.claim(&worker, task).await;
    is(&give_up(second).await, State::Running);
}
