//! Answers, out of the cache where the same request has the same answer.

use std::{collections::VecDeque, fmt::Write, sync::Arc, time::Duration};

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use sutazai_persistence::{
    Cache,
    cache::{Key, Lookup, Namespace, Slot},
};
use sutazai_resilience::Deadline;

use super::{Ending, Event, Order, Tokens, open};
use crate::{error::Error, fleet::Fleet};

/// Whole answers, by model digest and everything that the model reads.
const ANSWERS: Namespace = Namespace::new("chat", Duration::from_secs(3_600));
/// Largest text in bytes that is kept.
const LARGEST: usize = 1 << 20;

/// Where answers come from: the cache, then the fleet.
#[derive(Clone)]
pub(crate) struct Answers {
    fleet: Arc<Fleet>,
    cache: Cache,
}

/// An answer that has begun.
pub(crate) struct Answer {
    /// Full name of the model.
    pub(crate) model: Arc<str>,
    /// Name of the node that answers, or answered.
    pub(crate) node: Arc<str>,
    /// Whether it comes out of the cache.
    pub(crate) cached: bool,
    source: Source,
}

enum Source {
    Fleet {
        tokens: Box<Tokens>,
        recording: Option<Recording>,
    },
    Cache(VecDeque<Event>),
}

/// A whole answer as the cache holds it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    model: String,
    node: String,
    text: String,
    reason: String,
    prompt_tokens: u32,
    completion_tokens: u32,
}

/// What was heard so far of an answer that will be kept.
struct Recording {
    slot: Slot,
    text: String,
}

impl Answers {
    pub(crate) fn new(fleet: Arc<Fleet>, cache: Cache) -> Self {
        Self { fleet, cache }
    }

    /// Answers out of the cache, or asks the fleet and waits for the first token. Tenants share no
    /// answers: that one was asked for before is a fact about somebody.
    ///
    /// # Errors
    ///
    /// As [`open`].
    pub(crate) async fn open(
        &self,
        order: &Order,
        tenant: &str,
        deadline: Option<Deadline>,
    ) -> Result<Answer, Error> {
        let slot = match self.key(order, tenant).await? {
            None => None,
            Some(key) => match self.cache.look_up::<Kept>(key).await {
                Lookup::Found(found) => return Ok(Answer::of_cache(found.value)),
                Lookup::Missing(slot) => Some(slot),
            },
        };
        let tokens = open(&self.fleet, order, deadline).await?;
        Ok(Answer::of_fleet(tokens, slot))
    }

    /// Returns the name of the answer; none where it has to be made anew.
    async fn key(&self, order: &Order, tenant: &str) -> Result<Option<Key>, Error> {
        if !order.may_be_cached() {
            return Ok(None);
        }
        let model = self.fleet.resolve(&order.model).await?;
        let Some(model_digest) = self.fleet.digest(&model) else {
            return Ok(None);
        };
        let mut asked = order.body(&model_digest)?.to_vec();
        asked.extend(tenant.bytes());
        let mut name = String::new();
        for byte in digest(&SHA256, &asked).as_ref() {
            // Writing to a String can not fail.
            let _ = write!(name, "{byte:02x}");
        }
        Ok(Some(ANSWERS.key(&name).tag(&format!("model:{model}"))))
    }
}

impl Answer {
    fn of_fleet(tokens: Tokens, slot: Option<Slot>) -> Self {
        Self {
            model: tokens.model.clone(),
            node: tokens.node.clone(),
            cached: false,
            source: Source::Fleet {
                tokens: Box::new(tokens),
                recording: slot.map(|slot| Recording {
                    slot,
                    text: String::new(),
                }),
            },
        }
    }

    fn of_cache(kept: Kept) -> Self {
        let ending = Ending {
            reason: kept.reason,
            prompt_tokens: kept.prompt_tokens,
            completion_tokens: kept.completion_tokens,
            // No node spent any time on it.
            duration: Duration::ZERO,
        };
        let text = (!kept.text.is_empty()).then_some(Event::Delta(kept.text));
        Self {
            model: kept.model.into(),
            node: kept.node.into(),
            cached: true,
            source: Source::Cache(text.into_iter().chain([Event::Finished(ending)]).collect()),
        }
    }

    /// Returns the next event; nothing after [`Event::Finished`].
    ///
    /// # Errors
    ///
    /// As [`Tokens::next`].
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Error> {
        let (tokens, recording) = match &mut self.source {
            Source::Cache(events) => return Ok(events.pop_front()),
            Source::Fleet { tokens, recording } => (tokens, recording),
        };
        let event = tokens.next().await?;
        match &event {
            Some(Event::Delta(text)) => {
                *recording = recording.take().and_then(|recording| recording.hear(text));
            }
            Some(Event::Finished(ending)) => {
                if let Some(recording) = recording.take() {
                    let (model, node) = (self.model.to_string(), self.node.to_string());
                    recording.keep(model, node, ending).await;
                }
            }
            Some(Event::Thought) | None => {}
        }
        Ok(event)
    }
}

impl Recording {
    /// Adds a piece of the text; a text that grows too large is not kept.
    fn hear(mut self, text: &str) -> Option<Self> {
        self.text.push_str(text);
        (self.text.len() <= LARGEST).then_some(self)
    }

    async fn keep(self, model: String, node: String, ending: &Ending) {
        let kept = Kept {
            model,
            node,
            text: self.text,
            reason: ending.reason.clone(),
            prompt_tokens: ending.prompt_tokens,
            completion_tokens: ending.completion_tokens,
        };
        self.slot.fill(&kept).await;
    }
}
