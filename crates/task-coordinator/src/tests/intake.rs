//! The door of producers on the broker, and dead letters.

use std::fmt::Display;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};
use sutazai_messaging::message::Properties;
use sutazai_messaging::{Consumer, Delivery, Handler, Outcome as Handled, Outgoing};
use sutazai_proto::producers::{CONTENT_TYPE, EventData, Finished, Rejected as No, Submit};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::answer::{AnswerRelay, Answers};
use crate::consumer::Rejected;
use crate::dead_letter::{DeadLetter, DeadLetters};
use crate::error::Error;
use crate::intake::{Intake, Producers};

/// Queue of a producer for its answers.
const ANSWERS: &str = "answers";

/// Keeps what arrives.
#[derive(Clone, Default)]
struct Mailbox(Arc<Mutex<Vec<Value>>>);

#[async_trait]
impl Handler for Mailbox {
    async fn handle(&self, delivery: Delivery) -> Handled {
        assert_eq!(delivery.properties.correlation_id.as_deref(), Some("c-1"));
        let event = serde_json::from_slice(&delivery.body).unwrap();
        self.0.lock().push(event);
        Handled::Done
    }
}

impl Mailbox {
    /// Waits until so many answers have come, and returns their types.
    async fn types(&self, expected: usize) -> Vec<String> {
        let arrived = tokio::time::timeout(SOON, async {
            while self.0.lock().len() < expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        arrived
            .await
            .unwrap_or_else(|_| panic!("{:?}", self.0.lock()));
        let kind = |event: &Value| event["type"].as_str().unwrap().to_owned();
        self.0.lock().iter().map(kind).collect()
    }
}

impl Bench {
    pub(super) fn letters(&self) -> DeadLetters {
        DeadLetters::new(self.store.clone(), Arc::new(self.broker.clone()))
    }

    fn answers(&self) -> AnswerRelay {
        let answers = Answers::new(Arc::new(self.broker.clone()), SOON);
        AnswerRelay::new(self.store.clone(), answers, self.watchers.clone())
    }

    pub(super) fn intake(&self) -> Intake {
        Intake {
            tasks: self.tasks.clone(),
            producers: Producers {
                unnamed: "amqp".to_owned(),
                tenant: TENANT.to_owned(),
                tenants: "shop=tenant-1".parse().unwrap(),
            },
            answers: Answers::new(Arc::new(self.broker.clone()), SOON),
            stopping: CancellationToken::new(),
        }
    }

    /// Lets messages in, with a mailbox behind [`ANSWERS`].
    async fn door(&self) -> (Mailbox, Vec<Consumer>) {
        let mailbox = Mailbox::default();
        let queue = sutazai_messaging::topology::Queue {
            name: ANSWERS.to_owned(),
            delivery_limit: None,
            dead_letter_exchange: None,
            max_length: None,
        };
        self.broker
            .declare(&topology::Topology {
                queues: vec![queue],
                ..topology::Topology::default()
            })
            .await
            .unwrap();
        let intake = self.intake();
        let handlers: [(&str, Arc<dyn Handler>); 4] = [
            (topology::INTAKE, Arc::new(intake)),
            (topology::COORDINATOR_EVENTS, Arc::new(self.events())),
            (
                topology::DEAD_LETTERS,
                Arc::new(Rejected {
                    events: self.events(),
                    letters: self.letters(),
                }),
            ),
            (ANSWERS, Arc::new(mailbox.clone())),
        ];
        let mut consumers = Vec::new();
        for (queue, handler) in handlers {
            consumers.push(self.broker.consume(queue, 4, handler).await.unwrap());
        }
        (mailbox, consumers)
    }

    async fn send(&self, message: Outgoing) {
        self.broker.publish(message).await.unwrap();
    }

    /// Waits for the newest dead letter, which is the only one that is not sent again.
    async fn dead(&self) -> DeadLetter {
        let waited = tokio::time::timeout(SOON, async {
            loop {
                let (letters, _) = self.letters().list(None, 10).await.unwrap();
                if let Some(letter) = letters.into_iter().find(|one| one.redriven_at.is_none()) {
                    return letter;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        waited.await.expect("a dead letter")
    }
}

fn event(id: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/shop", "type": Submit::NAME, "data": data})
}

fn message(event: &(impl Display + ?Sized), reply_to: Option<&str>) -> Outgoing {
    Outgoing {
        id: "m-1".to_owned(),
        exchange: topology::TASKS.to_owned(),
        routing_key: Submit::NAME.to_owned(),
        headers: BTreeMap::new(),
        properties: Properties {
            reply_to: reply_to.map(str::to_owned),
            correlation_id: Some("c-1".to_owned()),
            user_id: None,
        },
        content_type: CONTENT_TYPE.to_owned(),
        body: event.to_string().into(),
    }
}

fn work() -> Value {
    json!({"type": TYPE, "input": {"n": 1}})
}

async fn stop(consumers: Vec<Consumer>) {
    for consumer in consumers {
        consumer.stop().await;
    }
}

#[tokio::test]
async fn tsk_01_an_event_that_comes_again_makes_one_task_and_is_answered_again() {
    let bench = Bench::start().await;
    bench.worker("w", 5).await;
    let (mailbox, consumers) = bench.door().await;
    let submission = message(&event("order-7", &work()), Some(ANSWERS));
    bench.send(submission.clone()).await;
    mailbox.types(1).await;
    bench.send(submission).await;
    let other = json!({"type": TYPE, "input": {"n": 2}});
    mailbox.types(2).await;
    bench
        .send(message(&event("order-7", &other), Some(ANSWERS)))
        .await;
    let kinds = mailbox.types(3).await;
    stop(consumers).await;
    assert_eq!(
        kinds,
        [
            "sutazai.task.accepted.v1",
            "sutazai.task.accepted.v1",
            No::NAME
        ]
    );
    let events = mailbox.0.lock().clone();
    assert_eq!(events[0]["data"]["task_id"], events[1]["data"]["task_id"]);
    assert_eq!(events[0]["id"], events[1]["id"], "the same answer");
    assert_eq!(
        (
            &events[0]["data"]["replayed"],
            &events[1]["data"]["replayed"]
        ),
        (&json!(false), &json!(true))
    );
    assert_eq!(events[2]["data"]["reason"], "idempotency_key_reused");
    assert_eq!(events[2]["data"]["origin"]["id"], "order-7");
    assert_eq!(bench.count("select count(*) from tasks").await, 1);
}

#[tokio::test]
async fn an_end_is_told_by_whichever_process_lives_and_then_forgotten() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let (mailbox, consumers) = bench.door().await;
    bench
        .send(message(&event("e", &work()), Some(ANSWERS)))
        .await;
    mailbox.types(1).await;
    stop(consumers).await;
    let id = mailbox.0.lock()[0]["data"]["task_id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(bench.answers().step().await.unwrap(), 0, "it has not ended");
    let attempt = bench.claim(&worker, id).await;
    bench.finish(attempt, &worker, success()).await;

    // The process dies here; its broker forgets everything.
    let bench = bench.restarted().await;
    let (mailbox, consumers) = bench.door().await;
    assert_eq!(bench.answers().step().await.unwrap(), 1);
    assert_eq!(mailbox.types(1).await, [Finished::NAME]);
    assert_eq!(bench.answers().step().await.unwrap(), 0, "told once");
    let told = mailbox.0.lock()[0].clone();
    assert_eq!(told["data"]["state"], "succeeded");
    assert_eq!(told["data"]["result"], json!({"text": "hello"}));
    assert_eq!(
        told["data"]["origin"],
        json!({"source": "/shop", "id": "e"})
    );
    assert_eq!(bench.count("select count(*) from answers").await, 0);

    // Who missed it submits again and is told again.
    bench
        .send(message(&event("e", &work()), Some(ANSWERS)))
        .await;
    mailbox.types(2).await;
    assert_eq!(bench.answers().step().await.unwrap(), 1);
    assert_eq!(mailbox.types(3).await[2], Finished::NAME);
    stop(consumers).await;
}

#[tokio::test]
async fn an_answer_to_a_queue_that_is_gone_is_tried_once() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let (_, consumers) = bench.door().await;
    bench
        .send(message(&event("e", &work()), Some("gone")))
        .await;
    let waited = tokio::time::timeout(SOON, async {
        while bench.count("select count(*) from tasks").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("a task all the same");
    stop(consumers).await;
    let id: Uuid = sqlx::query_scalar("select id from tasks")
        .fetch_one(bench.db.pool())
        .await
        .unwrap();
    let attempt = bench.claim(&worker, id.into()).await;
    bench.finish(attempt, &worker, failed(false)).await;
    assert_eq!(bench.answers().step().await.unwrap(), 1);
    assert_eq!(bench.count("select count(*) from answers").await, 0);
    assert_eq!(
        bench.count("select count(*) from stray_messages").await,
        0,
        "a task was made: nothing is dead"
    );
}

#[tokio::test]
async fn tsk_07_a_refusal_that_nobody_hears_of_is_a_dead_letter() {
    let bench = Bench::start().await;
    let (mailbox, consumers) = bench.door().await;
    let data = json!({"type": "no.such.type", "input": {}, "priority": 5});
    bench
        .send(message(&event("heard", &data), Some(ANSWERS)))
        .await;
    assert_eq!(mailbox.types(1).await, [No::NAME]);
    let answer = mailbox.0.lock()[0]["data"].clone();
    assert_eq!(
        (&answer["reason"], &answer["code"]),
        (&json!("unknown_task_type"), &json!("UNPROCESSABLE"))
    );
    assert_eq!(answer["errors"][0]["pointer"], "/data/type");
    bench.send(message(&event("unheard", &data), None)).await;
    let letter = bench.dead().await;
    stop(consumers).await;
    assert!(letter.reason.starts_with("unknown_task_type: "));
    let letter = bench.letters().get(letter.id).await.unwrap();
    assert!(String::from_utf8_lossy(&letter.body).contains("unheard"));
    assert_eq!(bench.count("select count(*) from stray_messages").await, 1);
}

#[tokio::test]
async fn tsk_07_a_dead_letter_is_redriven_once_and_may_die_again() {
    let bench = Bench::start().await;
    let (mailbox, consumers) = bench.door().await;
    let mut poison = message("{broken", Some(ANSWERS));
    poison.properties.user_id = Some("shop".to_owned());
    bench.send(poison.clone()).await;
    assert_eq!(mailbox.types(1).await, [No::NAME], "it is told as well");
    let letter = bench.dead().await;
    assert_eq!(letter.queue, topology::INTAKE);
    assert!(letter.reason.starts_with("invalid_json: "), "{letter:?}");
    assert_eq!(letter.properties.user_id.as_deref(), Some("shop"));

    for redrives in 0..2 {
        let letter = bench.dead().await;
        assert_eq!(letter.redrives, redrives);
        bench.letters().redrive(letter.id).await.unwrap();
        mailbox.types(2 + redrives as usize).await;
        let again = bench.dead().await;
        assert_eq!((again.id, again.redrives), (letter.id, redrives + 1));
    }
    // An old death that is delivered again changes nothing.
    stop(consumers).await;
    let letter = bench.dead().await;
    let sent = bench.letters().redrive(letter.id).await.unwrap();
    assert!(sent.redriven_at.is_some());
    let old = Delivery {
        id: poison.id.clone(),
        queue: topology::INTAKE.to_owned(),
        exchange: topology::TASKS.to_owned(),
        routing_key: poison.routing_key.clone(),
        headers: BTreeMap::new(),
        properties: poison.properties.clone(),
        content_type: poison.content_type.clone(),
        body: poison.body.clone(),
        delivery_count: 0,
    };
    bench.letters().keep(&old, "late").await.unwrap();
    let depth = bench.broker.depth(topology::INTAKE).await.unwrap();
    let same = bench.letters().redrive(letter.id).await.unwrap();
    assert_eq!(same.redriven_at, sent.redriven_at);
    assert_eq!(
        bench.broker.depth(topology::INTAKE).await.unwrap(),
        depth,
        "nothing is sent twice"
    );
    bench.letters().delete(letter.id).await.unwrap();
    let gone = bench.letters().redrive(letter.id).await.unwrap_err();
    assert!(matches!(gone, Error::DeadLetterNotFound(_)), "{gone:?}");
}

#[tokio::test]
async fn tsk_07_a_letter_is_kept_and_redriven_whatever_count_its_sender_wrote_into_it() {
    let bench = Bench::start().await;
    let (_, consumers) = bench.door().await;
    for claim in ["abc", "1", "2147483647", "3000000000", "99999999999"] {
        let mut poison = message("{broken", None);
        poison.id = format!("m-{claim}");
        let header = ("x-redrives".to_owned(), claim.to_owned());
        poison.headers.extend([header]);
        bench.send(poison.clone()).await;
        for redrives in 0..2 {
            let letter = bench.dead().await;
            assert_eq!(
                (&letter.message_id, letter.redrives),
                (&poison.id, redrives),
                "our own count"
            );
            bench.letters().redrive(letter.id).await.unwrap();
        }
        let letter = bench.dead().await;
        assert_eq!(letter.redrives, 2, "{claim}");
        bench.letters().delete(letter.id).await.unwrap();
    }
    stop(consumers).await;
}

#[tokio::test]
async fn sec_05_a_redriven_message_runs_for_its_author() {
    let bench = Bench::start().await;
    let (_, consumers) = bench.door().await;
    let mut early = message(&event("early", &work()), None);
    early.properties.user_id = Some("shop".to_owned());
    bench.send(early).await;
    let letter = bench.dead().await;
    bench.worker("w", 5).await;

    bench.letters().redrive(letter.id).await.unwrap();
    let waited = tokio::time::timeout(SOON, async {
        while bench.count("select count(*) from tasks").await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("a task");
    stop(consumers).await;
    let whose: Vec<(String, String)> = sqlx::query_as("select tenant_id, subject from tasks")
        .fetch_all(bench.db.pool())
        .await
        .unwrap();
    assert_eq!(whose, [("tenant-1".to_owned(), "amqp:shop".to_owned())]);
}

#[tokio::test]
async fn sec_10_a_producer_can_not_pass_its_message_off_as_a_result() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let (_, consumers) = bench.door().await;
    let attempt = bench.begin(&worker, TYPE).await;
    let result = sutazai_proto::tasks::v1::TaskFinished {
        task_id: attempt.task.to_string(),
        attempt: attempt.attempt,
        worker: "w".to_owned(),
        outcome: Some(sutazai_proto::tasks::v1::task_finished::Outcome::Cancelled(
            sutazai_proto::tasks::v1::AttemptCancelled {},
        )),
    };
    let forged = Outgoing::event("/shop", topology::TASKS, "task.finished.v1", &result);
    bench.send(forged).await;
    let letter = bench.dead().await;
    stop(consumers).await;
    assert!(letter.reason.starts_with("unsupported_media_type: "));
    is(&bench.task(attempt.task).await, State::Running);
}

#[tokio::test]
async fn tsk_01_a_submission_waits_where_it_is_while_the_database_can_not_take_it() {
    let bench = Bench::start().await;
    bench.worker("w", 5).await;
    let mut lock = bench.db.pool().begin().await.unwrap();
    sqlx::query("lock table idempotency_keys in exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    let intake = bench.intake();
    let sent = message(&event("patient", &work()), None);
    let delivery = Delivery {
        id: sent.id,
        queue: topology::INTAKE.to_owned(),
        exchange: topology::TASKS.to_owned(),
        routing_key: sent.routing_key,
        headers: sent.headers,
        properties: sent.properties,
        content_type: sent.content_type,
        body: sent.body,
        delivery_count: 0,
    };
    let handled = tokio::spawn(async move { intake.handle(delivery).await });
    // Longer than one try takes.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(!handled.is_finished(), "it is still waiting");
    lock.rollback().await.unwrap();
    assert_eq!(handled.await.unwrap(), Handled::Done, "no return used up");
    assert_eq!(bench.count("select count(*) from tasks").await, 1);
}
