//! Messages that nobody could use: kept, shown to operators, and sent again.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use ring::digest::{Context, SHA256};
use sutazai_messaging::{
    Broker, BrokerError, Delivery, Outgoing,
    message::{HEADER_DEAD_QUEUE, HEADER_REASON, Properties},
};
use sutazai_persistence::DatabaseError;
use sutazai_proto::events::HEADER_TASK_ID;
use tokio::time::timeout;
use uuid::Uuid;

use crate::error::Error;
use crate::store::{Redrive, Spot, Store};

/// Header of a message that was sent again: how often. Its first sender may have written it, too.
const HEADER_REDRIVES: &str = "x-redrives";
/// What brokers add to the headers of a message that dies; sent again, it begins anew.
const MARKS: [&str; 6] = [
    "x-death",
    "x-first-death-",
    "x-last-death-",
    "x-delivery-count",
    HEADER_REASON,
    HEADER_DEAD_QUEUE,
];
/// Most bytes of a body that are kept.
const LARGEST_BODY: usize = 1024 * 1024;
/// Most bytes of a header's value, of a reason and of a name that are kept.
const LONGEST_TEXT: usize = 4096;
/// Most bytes of all headers that are kept: AMQP sends them in one frame.
const LARGEST_HEADERS: usize = 32 * 1024;

/// A message that nobody could use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeadLetter {
    pub(crate) id: Uuid,
    /// Its sender's name for it; ours when it had none.
    pub(crate) message_id: String,
    /// Where it died.
    pub(crate) queue: String,
    pub(crate) reason: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) content_type: String,
    pub(crate) routing_key: String,
    pub(crate) properties: Properties,
    /// Named by the message; there may be no such task.
    pub(crate) task: Option<Uuid>,
    /// Empty in lists.
    pub(crate) body: Bytes,
    /// Bytes of the whole body, of which a large one was cut.
    pub(crate) size: u64,
    /// How often it was sent again before it died.
    pub(crate) redrives: u32,
    pub(crate) received_at: DateTime<Utc>,
    /// Sent again since it died.
    pub(crate) redriven_at: Option<DateTime<Utc>>,
}

/// The dead letters of the platform; they belong to no tenant. Clones share them.
#[derive(Clone)]
pub(crate) struct DeadLetters {
    store: Store,
    broker: Arc<dyn Broker>,
}

impl DeadLetters {
    pub(crate) fn new(store: Store, broker: Arc<dyn Broker>) -> Self {
        Self { store, broker }
    }

    /// Keeps a message; the same death once.
    pub(crate) async fn keep(&self, delivery: &Delivery, why: &str) -> Result<(), DatabaseError> {
        let letter = DeadLetter::of(delivery, why);
        tracing::warn!(
            letter.message_id,
            letter.queue,
            letter.reason,
            "message that nobody can use kept"
        );
        let print = fingerprint(&letter.message_id, &letter.queue, &delivery.body);
        self.store.keep_dead_letter(&letter, &print).await
    }

    /// Lists them without their bodies, newest first, and says where the next page begins.
    pub(crate) async fn list(
        &self,
        after: Option<Spot>,
        limit: u32,
    ) -> Result<(Vec<DeadLetter>, Option<Spot>), Error> {
        // One more than wanted tells whether there is a next page.
        let more = limit.saturating_add(1);
        let mut letters = self.store.dead_letters(after, more).await?;
        let fits = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_last = letters.len() <= fits;
        letters.truncate(fits);
        let last = letters.last().filter(|_| !is_last);
        let next = last.map(|letter| Spot {
            received_at: letter.received_at,
            id: letter.id,
        });
        Ok((letters, next))
    }

    pub(crate) async fn get(&self, id: Uuid) -> Result<DeadLetter, Error> {
        let found = self.store.dead_letter(id).await?;
        found.ok_or(Error::DeadLetterNotFound(id))
    }

    pub(crate) async fn delete(&self, id: Uuid) -> Result<(), Error> {
        if self.store.delete_dead_letter(id).await? {
            return Ok(());
        }
        Err(Error::DeadLetterNotFound(id))
    }

    /// Sends a message to the queue where it died, as if it had never been delivered.
    ///
    /// It is marked after the broker's confirm. A second call changes nothing until it dies again.
    pub(crate) async fn redrive(&self, id: Uuid) -> Result<DeadLetter, Error> {
        let letter = match self.store.begin_redrive(id).await? {
            None => return Err(Error::DeadLetterNotFound(id)),
            Some(Redrive::Done(letter)) => return Ok(letter),
            Some(Redrive::InFlight) => return Err(Error::RedriveInFlight),
            Some(Redrive::Cut(size)) => return Err(Error::DeadLetterCut(size)),
            Some(Redrive::Begun(letter)) => letter,
        };
        let publish = self.broker.publish(letter.again());
        // Without an answer it may have gone out: the mark of the begin keeps others away a while.
        let sent = timeout(self.store.rules().publish, publish)
            .await
            .map_err(|_| Error::RedriveInFlight)?;
        if let Err(error) = sent {
            self.store.abandon_redrive(&letter).await?;
            return Err(match error {
                BrokerError::Unroutable { .. } | BrokerError::UnknownQueue(_) => {
                    Error::QueueGone(letter.queue)
                }
                other => Error::Broker(other),
            });
        }
        tracing::info!(%id, letter.queue, "dead letter sent again");
        self.store.end_redrive(&letter).await?;
        self.get(id).await
    }
}

impl DeadLetter {
    fn of(delivery: &Delivery, why: &str) -> Self {
        let id = Uuid::now_v7();
        let header = |name: &str| delivery.headers.get(name);
        let message_id = match delivery.id.as_str() {
            "" => id.to_string(),
            named => storable(named),
        };
        let short = |text: &Option<String>| text.as_deref().map(storable);
        let (routing_key, properties) = (&delivery.routing_key, &delivery.properties);
        Self {
            id,
            message_id,
            queue: storable(header(HEADER_DEAD_QUEUE).unwrap_or(&delivery.queue)),
            reason: storable(header(HEADER_REASON).map_or(why, String::as_str)),
            headers: storable_headers(&delivery.headers),
            content_type: storable(&delivery.content_type),
            routing_key: storable(routing_key),
            properties: Properties {
                reply_to: short(&properties.reply_to),
                correlation_id: short(&properties.correlation_id),
                user_id: short(&properties.user_id),
            },
            task: header(HEADER_TASK_ID).and_then(|id| id.parse().ok()),
            body: delivery.body.slice(..delivery.body.len().min(LARGEST_BODY)),
            size: delivery.body.len() as u64,
            redrives: header(HEADER_REDRIVES)
                .and_then(|count| count.parse().ok())
                .unwrap_or_default(),
            received_at: Utc::now(),
            redriven_at: None,
        }
    }

    /// Makes the message again.
    fn again(&self) -> Outgoing {
        let is_mark = |name: &str| MARKS.iter().any(|mark| name.starts_with(mark));
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !is_mark(name));
        let redrives = self.redrives.saturating_add(1);
        headers.insert(HEADER_REDRIVES.to_owned(), redrives.to_string());
        Outgoing {
            id: self.message_id.clone(),
            exchange: String::new(),
            routing_key: self.queue.clone(),
            headers,
            properties: self.properties.clone(),
            content_type: self.content_type.clone(),
            body: self.body.clone(),
        }
    }
}

/// Tells messages apart whose senders gave them the same id, or none.
fn fingerprint(message_id: &str, queue: &str, body: &[u8]) -> Vec<u8> {
    let mut digest = Context::new(&SHA256);
    for part in [message_id.as_bytes(), queue.as_bytes(), body] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finish().as_ref().to_vec()
}

/// Shortens a text, and clears it of the zero bytes that the database does not take.
fn storable(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_TEXT);
    text[..end].replace('\0', "\u{fffd}")
}

/// Keeps as many headers as there is room for.
fn storable_headers(headers: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut room = LARGEST_HEADERS;
    let headers = headers
        .iter()
        .map(|(name, value)| (storable(name), storable(value)));
    let fitting = headers.filter(|(name, value)| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(room);
        left.is_some()
    });
    fitting.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsk_07_a_message_is_sent_again_as_if_it_had_never_died() {
        let text = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect()
        };
        let delivery = Delivery {
            id: "m-1".to_owned(),
            queue: "dead-letters".to_owned(),
            exchange: "dead-letters".to_owned(),
            routing_key: "sutazai.task.submit.v1".to_owned(),
            headers: text(&[
                ("traceparent", "00-aa-bb-01"),
                ("x-reason", "invalid_json"),
                ("x-dead-queue", "tasks.intake"),
                ("x-delivery-count", "5"),
                ("x-first-death-queue", "tasks.intake"),
                ("x-redrives", "2"),
            ]),
            properties: Properties {
                reply_to: Some("answers".to_owned()),
                correlation_id: Some("7".to_owned()),
                user_id: Some("shop".to_owned()),
            },
            content_type: "text/plain".to_owned(),
            body: "broken".into(),
            delivery_count: 0,
        };
        let letter = DeadLetter::of(&delivery, "not this");
        assert_eq!(letter.reason, "invalid_json");
        let again = letter.again();
        assert_eq!(
            (again.exchange.as_str(), again.routing_key.as_str()),
            ("", "tasks.intake")
        );
        assert_eq!(
            (again.id.as_str(), &again.body, again.content_type.as_str()),
            ("m-1", &delivery.body, "text/plain")
        );
        let expected = text(&[("traceparent", "00-aa-bb-01"), ("x-redrives", "3")]);
        assert_eq!(again.headers, expected);
        assert_eq!(again.properties, delivery.properties, "its author, too");
    }

    #[test]
    fn g_24_what_is_kept_of_a_message_is_bounded() {
        let long = "ä\0".repeat(LONGEST_TEXT);
        let headers = (0..1000).map(|n| (format!("h-{n}"), long.clone()));
        let delivery = Delivery {
            id: long.clone(),
            queue: "q".to_owned(),
            exchange: "e".to_owned(),
            routing_key: long.clone(),
            headers: headers.collect(),
            properties: Properties::default(),
            content_type: long.clone(),
            body: vec![b'x'; LARGEST_BODY + 1].into(),
            delivery_count: 0,
        };
        let letter = DeadLetter::of(&delivery, &long);
        let size = |(name, value): (&String, &String)| name.len() + value.len();
        assert!(letter.headers.iter().map(size).sum::<usize>() <= LARGEST_HEADERS);
        assert!(!letter.headers.is_empty());
        assert_eq!(letter.body.len(), LARGEST_BODY);
        assert_eq!(letter.size, LARGEST_BODY as u64 + 1);
        for text in letter.headers.values().chain([&letter.reason]) {
            assert!(text.len() <= 2 * LONGEST_TEXT && !text.contains('\0'));
        }
    }
}
