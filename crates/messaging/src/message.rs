//! What is sent and what arrives.

use std::collections::BTreeMap;

use bytes::Bytes;
use sutazai_proto::events::{
    CONTENT_TYPE, EventType, HEADER_ATTEMPT, HEADER_ID, HEADER_SOURCE, HEADER_SPEC_VERSION,
    HEADER_TASK_ID, HEADER_TYPE,
};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_telemetry::propagate;
use uuid::Uuid;

/// Header of a dead letter: why it is one.
pub const HEADER_REASON: &str = "x-reason";
/// Header of a dead letter: the queue it was in.
pub const HEADER_DEAD_QUEUE: &str = "x-dead-queue";
/// [`HEADER_REASON`] of what came back too often; RabbitMQ uses the same text.
pub const REASON_DELIVERY_LIMIT: &str = "delivery_limit";

/// Longest name, key, id or other property, in bytes: AMQP writes its length into one byte.
const LONGEST_PROPERTY: usize = 255;
/// Most bytes of all headers together: AMQP sends them in one frame, which RabbitMQ takes up to
/// 128 KiB; a larger one ends the whole connection.
const LARGEST_HEADERS: usize = 64 * 1024;

/// What AMQP carries beside the headers for a question and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Queue that an answer goes to, through the default exchange.
    pub reply_to: Option<String>,
    /// Ties an answer to its question.
    pub correlation_id: Option<String>,
    /// The producer's login name, which the broker validated; the platform passes it on.
    pub user_id: Option<String>,
}

/// A message to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Unique; receivers use it to tell a repetition from another message.
    pub id: String,
    /// Where to publish; the empty name leads straight to the queue named by the routing key.
    pub exchange: String,
    /// What the exchange decides by.
    pub routing_key: String,
    /// Facts beside the body, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Facts that AMQP has properties for.
    pub properties: Properties,
    /// Media type of the body.
    pub content_type: String,
    /// The content.
    pub body: Bytes,
}

/// A message that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// [`Outgoing::id`], the same at each repetition.
    pub id: String,
    /// The queue it waited in.
    pub queue: String,
    /// Where it was published to, or dead-lettered; the broker says so, not the sender.
    pub exchange: String,
    /// What it was published with.
    pub routing_key: String,
    /// Facts beside the body, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// Facts that AMQP has properties for.
    pub properties: Properties,
    /// Media type of the body.
    pub content_type: String,
    /// The content.
    pub body: Bytes,
    /// How often it was delivered before.
    pub delivery_count: u32,
}

impl Outgoing {
    /// Makes the message of an event, with CloudEvents attributes and the current trace as headers.
    pub fn event<E: EventType>(source: &str, exchange: &str, routing_key: &str, event: &E) -> Self {
        let id = Uuid::now_v7().to_string();
        let attributes = [
            (HEADER_ID, id.as_str()),
            (HEADER_SOURCE, source),
            (HEADER_TYPE, E::NAME),
            (HEADER_SPEC_VERSION, "1.0"),
        ];
        let mut headers: BTreeMap<String, String> = attributes
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        propagate::inject_map(&mut headers);
        Self {
            id,
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            headers,
            properties: Properties::default(),
            content_type: CONTENT_TYPE.to_owned(),
            body: event.encode_to_vec().into(),
        }
    }

    /// Names the task, and the attempt once a claim assigned one.
    #[must_use]
    pub fn with_task(mut self, task_id: &str, attempt: Option<u32>) -> Self {
        self.headers
            .insert(HEADER_TASK_ID.to_owned(), task_id.to_owned());
        if let Some(attempt) = attempt {
            self.headers
                .insert(HEADER_ATTEMPT.to_owned(), attempt.to_string());
        }
        self
    }

    /// Tells whether brokers can carry it at all.
    pub(crate) fn check(&self) -> Result<(), Unfit> {
        let Properties {
            reply_to,
            correlation_id,
            user_id,
        } = &self.properties;
        let given = [reply_to, correlation_id, user_id];
        let properties = [
            &self.id,
            &self.exchange,
            &self.routing_key,
            &self.content_type,
        ];
        for property in properties.into_iter().chain(given.into_iter().flatten()) {
            Unfit::unless_short(property)?;
        }
        self.headers
            .keys()
            .try_for_each(|name| Unfit::unless_short(name))?;
        let sizes = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len());
        let size: usize = sizes.sum();
        if size > LARGEST_HEADERS {
            return Err(Unfit(format!("its headers have {size} bytes")));
        }
        Ok(())
    }

    /// Gives the message an id that was chosen before, so that sending it again repeats it.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Self {
        self.id = id.into();
        self.headers.insert(HEADER_ID.to_owned(), self.id.clone());
        self
    }
}

impl Delivery {
    /// Reads the event in the body.
    ///
    /// # Errors
    /// Fails when the message is another event, or its body can not be read. Neither gets better
    /// by trying again.
    pub fn decode<E: EventType>(&self) -> Result<E, Undecodable> {
        let found = self.headers.get(HEADER_TYPE);
        if found.is_none_or(|found| found != E::NAME) {
            return Err(Undecodable::Type {
                expected: E::NAME,
                found: found.cloned(),
            });
        }
        if self.content_type != CONTENT_TYPE {
            return Err(Undecodable::ContentType(self.content_type.clone()));
        }
        E::decode(self.body.clone()).map_err(|source| Undecodable::Body {
            event: E::NAME,
            source,
        })
    }
}

/// A message or name that no broker can carry, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(pub(crate) String);

impl Unfit {
    /// Refuses a name that is too long for AMQP.
    pub(crate) fn unless_short(text: &str) -> Result<(), Self> {
        if text.len() > LONGEST_PROPERTY {
            let start: String = text.chars().take(40).collect();
            return Err(Self(format!("`{start}…` has {} bytes", text.len())));
        }
        Ok(())
    }
}

/// Why a delivery is not the event that its reader expects.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// It is another event, or does not say which.
    #[error("expected the event {expected}, found {found:?}")]
    Type {
        /// What the reader asked for.
        expected: &'static str,
        /// What the message says it is.
        found: Option<String>,
    },
    /// It is not protobuf.
    #[error("content type `{0}` is not {CONTENT_TYPE}")]
    ContentType(String),
    /// The bytes are damaged.
    #[error("the body is not a {event}")]
    Body {
        /// What the message says it is.
        event: &'static str,
        /// Where reading ended.
        source: prost::DecodeError,
    },
}

impl Coded for Undecodable {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Type { .. } => "unknown_event",
            Self::ContentType(_) => "unsupported_media_type",
            Self::Body { .. } => "undecodable_event",
        }
    }
}

#[cfg(test)]
mod tests {
    use sutazai_proto::tasks::v1::{TaskFinished, TaskReleased};

    use super::*;

    fn released() -> TaskReleased {
        TaskReleased {
            task_id: "task-7".to_owned(),
            ..TaskReleased::default()
        }
    }

    fn delivered(message: Outgoing) -> Delivery {
        Delivery {
            id: message.id,
            queue: "work.llm.generate".to_owned(),
            exchange: message.exchange,
            routing_key: message.routing_key,
            headers: message.headers,
            properties: message.properties,
            content_type: message.content_type,
            body: message.body,
            delivery_count: 0,
        }
    }

    #[test]
    fn an_event_says_what_it_is_in_its_headers() {
        let message = Outgoing::event(
            "task-coordinator",
            "tasks.work",
            "llm.generate",
            &released(),
        )
        .with_task("task-7", Some(2))
        .with_id("chosen");
        assert_eq!(message.id, "chosen");
        let expected = [
            ("ce-id", "chosen"),
            ("ce-source", "task-coordinator"),
            ("ce-type", "task.released.v1"),
            ("ce-specversion", "1.0"),
            ("task-id", "task-7"),
            ("task-attempt", "2"),
        ];
        for (name, value) in expected {
            assert_eq!(
                message.headers.get(name).map(String::as_str),
                Some(value),
                "{name}"
            );
        }
        assert_eq!(delivered(message).decode(), Ok(released()));
    }

    #[test]
    fn two_events_never_share_an_id() {
        let one = Outgoing::event("backend", "tasks.work", "a", &released());
        let two = Outgoing::event("backend", "tasks.work", "a", &released());
        assert_ne!(one.id, two.id);
    }

    #[test]
    fn what_is_not_the_event_is_not_decoded() {
        let message = || Outgoing::event("backend", "tasks.work", "a", &released());
        let other = delivered(message()).decode::<TaskFinished>();
        assert!(
            matches!(other, Err(Undecodable::Type { found: Some(name), .. })
            if name == "task.released.v1")
        );

        let mut nameless = delivered(message());
        nameless.headers.remove(HEADER_TYPE);
        let result = nameless.decode::<TaskReleased>();
        assert!(matches!(result, Err(Undecodable::Type { found: None, .. })));

        let json = Outgoing {
            content_type: "application/json".to_owned(),
            ..message()
        };
        let result = delivered(json).decode::<TaskReleased>();
        assert!(matches!(result, Err(Undecodable::ContentType(_))));

        let damaged = Outgoing {
            body: Bytes::from_static(&[0xff]),
            ..message()
        };
        let result = delivered(damaged).decode::<TaskReleased>();
        assert!(matches!(result, Err(Undecodable::Body { .. })));
    }
}
