//! What producers on the broker are told: CloudEvents to the queue that they named.

use std::{sync::Arc, time::Duration};

use chrono::{SecondsFormat, Utc};
use metrics::counter;
use serde::Serialize;
use sutazai_mesh::catalog::ServiceName;
use sutazai_messaging::{Broker, Delivery, Outgoing, message::Properties};
use sutazai_proto::events::{HEADER_ID, HEADER_SOURCE, HEADER_SPEC_VERSION, HEADER_TYPE};
use sutazai_proto::ids::TaskId;
use sutazai_proto::producers::{
    CONTENT_TYPE, CloudEvent, EventData, Fault, Origin, Rejected, SPEC_VERSION,
};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_telemetry::{names, propagate};
use tokio::time::timeout;

mod relay;

pub(crate) use relay::AnswerRelay;

/// Longest text of a short string in AMQP, in bytes.
const SHORT: usize = 255;

/// Where a producer wants its answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// Queue, by way of the default exchange.
    pub(crate) queue: String,
    pub(crate) correlation_id: String,
}

/// Sends answers; clones use the same broker.
#[derive(Clone)]
pub(crate) struct Answers {
    broker: Arc<dyn Broker>,
    /// How long the broker may take for its confirm.
    patience: Duration,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    Delivered,
    /// No queue takes it, and none ever will: nobody is left to tell.
    Gone,
    /// It may work later.
    Failed,
}

impl Address {
    /// Reads where the answers to a message go; `None` when its sender wants none, or says so in a
    /// way that can not be kept.
    pub(crate) fn of(delivery: &Delivery) -> Option<Self> {
        let storable = |text: &&String| text.len() <= SHORT && !text.contains('\0');
        let properties = &delivery.properties;
        let queue = properties.reply_to.as_ref().filter(storable)?;
        let correlation_id = properties.correlation_id.as_ref().filter(storable);
        (!queue.is_empty()).then(|| Self {
            queue: queue.clone(),
            correlation_id: correlation_id.cloned().unwrap_or_default(),
        })
    }
}

impl Answers {
    pub(crate) fn new(broker: Arc<dyn Broker>, patience: Duration) -> Self {
        Self { broker, patience }
    }

    /// Sends one; the same `id` makes it the same answer.
    pub(crate) async fn send<D: EventData + Serialize>(
        &self,
        to: &Address,
        task: Option<TaskId>,
        id: String,
        data: D,
    ) -> Sent {
        let message = match message(to, task, id, data) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, event = D::NAME, "answer can not be written");
                return Sent::Gone;
            }
        };
        let sent = match timeout(self.patience, self.broker.publish(message)).await {
            Ok(Ok(())) => Sent::Delivered,
            Ok(Err(error)) => {
                let cause = sutazai_proto::status::chain(&error);
                tracing::info!(cause, event = D::NAME, "answer not taken");
                if error.code().policy().retryable {
                    Sent::Failed
                } else {
                    Sent::Gone
                }
            }
            Err(_) => Sent::Failed,
        };
        count(D::NAME, sent.as_str());
        sent
    }
}

impl Sent {
    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Gone => "gone",
            Self::Failed => "failed",
        }
    }
}

fn count(event: &'static str, outcome: &'static str) {
    counter!(names::TASK_ANSWERS_TOTAL, "event" => event, "outcome" => outcome).increment(1);
}

fn message<D: EventData + Serialize>(
    to: &Address,
    task: Option<TaskId>,
    id: String,
    data: D,
) -> Result<Outgoing, serde_json::Error> {
    let source = ServiceName::TaskCoordinator.as_str();
    let attributes = [
        (HEADER_ID, id.as_str()),
        (HEADER_SOURCE, source),
        (HEADER_TYPE, D::NAME),
        (HEADER_SPEC_VERSION, SPEC_VERSION),
    ];
    let attributes = attributes.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut headers = attributes.into();
    propagate::inject_map(&mut headers);
    let event = CloudEvent {
        subject: task.map(|task| task.to_string()),
        time: Some(Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true)),
        traceparent: headers.get("traceparent").cloned(),
        tracestate: headers.get("tracestate").cloned(),
        ..CloudEvent::new(source, id.clone(), data)
    };
    let message = Outgoing {
        id,
        exchange: String::new(),
        routing_key: to.queue.clone(),
        headers,
        properties: Properties {
            correlation_id: Some(to.correlation_id.clone()).filter(|id| !id.is_empty()),
            ..Properties::default()
        },
        content_type: CONTENT_TYPE.to_owned(),
        body: serde_json::to_vec(&event)?.into(),
    };
    Ok(match task {
        Some(task) => message.with_task(&task.to_string(), None),
        None => message,
    })
}

/// Describes why there is no task; `place` says where a field of the error stands in the message.
pub(crate) fn rejected(
    error: &impl Coded,
    origin: Option<Origin>,
    place: fn(&str) -> String,
) -> Rejected {
    let detail = match error.code() {
        ErrorCode::Internal => "an internal error occurred; the logs have it".to_owned(),
        _ => sutazai_proto::status::chain(error),
    };
    let details = error.details();
    let errors = details.violations.into_iter().map(|violation| Fault {
        pointer: place(&violation.field),
        detail: violation.description,
    });
    Rejected {
        origin,
        code: error.code().to_string(),
        reason: error.reason().to_owned(),
        detail,
        errors: errors.collect(),
        facts: details.metadata,
    }
}
