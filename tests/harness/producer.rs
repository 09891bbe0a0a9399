//! A producer outside the platform, on the broker.

use std::{collections::BTreeMap, fmt::Display, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde_json::{Value, json};
use sutazai_messaging::{
    Broker, Consumer, Delivery, Handler, Outcome, Outgoing,
    message::Properties,
    topology::{self, Queue, Topology},
};
use sutazai_proto::producers::{CONTENT_TYPE, EventData, Submit};
use tokio::{sync::Mutex, sync::mpsc, time::timeout};
use uuid::Uuid;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Answers that nobody has asked for yet; further ones wait in the queue.
const ROOM: usize = 64;

/// Sends submissions, and has a queue of its own for the answers.
pub struct Producer {
    broker: Arc<dyn Broker>,
    queue: String,
    answers: Mutex<mpsc::Receiver<Value>>,
    _consumer: Consumer,
}

struct Mailbox(mpsc::Sender<Value>);

#[async_trait]
impl Handler for Mailbox {
    async fn handle(&self, delivery: Delivery) -> Outcome {
        let event = serde_json::from_slice(&delivery.body).expect("JSON");
        // Nobody waits any more when the test is over.
        let _ = self.0.send(event).await;
        Outcome::Done
    }
}

/// Makes a submission.
pub fn submission(id: &str, data: &Value) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/producer", "type": Submit::NAME, "data": data})
}

impl Producer {
    /// Makes one with a queue for its answers.
    pub async fn new(broker: Arc<dyn Broker>) -> Self {
        let queue = format!("answers.{}", Uuid::new_v4());
        let topology = Topology {
            queues: vec![Queue {
                name: queue.clone(),
                delivery_limit: None,
                dead_letter_exchange: None,
                max_length: None,
            }],
            ..Topology::default()
        };
        broker.declare(&topology).await.expect("a queue");
        let (sender, answers) = mpsc::channel(ROOM);
        let consumer = broker.consume(&queue, 16, Arc::new(Mailbox(sender))).await;
        Self {
            queue,
            answers: Mutex::new(answers),
            _consumer: consumer.expect("a consumer"),
            broker,
        }
    }

    /// Makes a message for the door; its answers come to this producer.
    pub fn message(&self, body: &(impl Display + ?Sized)) -> Outgoing {
        Outgoing {
            id: Uuid::new_v4().to_string(),
            exchange: topology::TASKS.to_owned(),
            routing_key: Submit::NAME.to_owned(),
            headers: BTreeMap::new(),
            properties: Properties {
                reply_to: Some(self.queue.clone()),
                correlation_id: None,
                user_id: None,
            },
            content_type: CONTENT_TYPE.to_owned(),
            body: body.to_string().into(),
        }
    }

    /// Sends a message, confirmed.
    pub async fn send(&self, message: Outgoing) {
        self.broker.publish(message).await.expect("a confirm");
    }

    /// Sends an event.
    pub async fn submit(&self, event: &Value) {
        self.send(self.message(event)).await;
    }

    /// Waits for the next answer.
    pub async fn answer(&self) -> Value {
        let mut answers = self.answers.lock().await;
        let answer = timeout(PATIENCE, answers.recv()).await;
        answer.expect("an answer in time").expect("an answer")
    }

    /// Waits until each of these tasks or submissions has got its last answer, and returns them.
    pub async fn ends(&self, count: usize) -> Vec<Value> {
        let mut ends = Vec::new();
        while ends.len() < count {
            let answer = self.answer().await;
            if answer["type"] != "sutazai.task.accepted.v1" {
                ends.push(answer);
            }
        }
        ends
    }
}
