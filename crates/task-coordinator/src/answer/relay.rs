//! Tells the ends of tasks to the producers that submitted them, until each was told.

use std::{error::Error as StdError, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};
use sutazai_persistence::DatabaseError;
use sutazai_proto::producers::{End, EventData, Failure, Finished};
use sutazai_resilience::backoff::Backoff;
use sutazai_telemetry::propagate;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::{Answers, Sent, count};
use crate::store::{DueAnswer, Store};
use crate::task::{Payload, State};
use crate::watch::Watchers;

/// The relay looks at least this often: what it waits for may have happened in another process.
const LOOK: Duration = Duration::from_secs(1);
/// Answers that are sent at once.
const AT_ONCE: usize = 16;
/// After so many tries, with waits of up to [`BACKOFF`]'s longest, an answer is given up.
const MOST_TRIES: u32 = 500;
const BACKOFF: Backoff = Backoff {
    min: Duration::from_secs(1),
    max: Duration::from_secs(60),
};

/// Sends what is due.
#[derive(Clone)]
pub(crate) struct AnswerRelay {
    store: Store,
    answers: Answers,
    watchers: Watchers,
}

impl AnswerRelay {
    pub(crate) fn new(store: Store, answers: Answers, watchers: Watchers) -> Self {
        Self {
            store,
            answers,
            watchers,
        }
    }

    /// Relays until told to stop.
    pub(crate) async fn run(&self, stop: &CancellationToken) {
        let mut failures = 0;
        while !stop.is_cancelled() {
            let wait = match self.step().await {
                Ok(0) => {
                    failures = 0;
                    LOOK
                }
                Ok(_) => continue,
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = &error as &dyn StdError, "answers not relayed");
                    BACKOFF.delay(failures, &mut rand::rng())
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.watchers.ended(), if failures == 0 => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Sends one batch; answers how many answers that were.
    pub(crate) async fn step(&self) -> Result<usize, DatabaseError> {
        let due = self.store.pick_answers().await?;
        let picked = due.len();
        let ends = stream::iter(due).map(|answer| self.tell(answer));
        let ends: Vec<_> = ends.buffer_unordered(AT_ONCE).collect().await;
        ends.into_iter().collect::<Result<Vec<()>, _>>()?;
        Ok(picked)
    }

    async fn tell(&self, answer: DueAnswer) -> Result<(), DatabaseError> {
        let Some(finished) = finished(&answer) else {
            return self.store.forget_answer(&answer).await;
        };
        let task = answer.view.task.id;
        let span = info_span!("task.answer", task.id = %task);
        // The task's own trace, not that of the batch.
        propagate::set_parent_from_map(&span, &answer.view.task.spec.trace);
        let id = format!("{task}.finished");
        let address = &answer.reply_to.address;
        let sent = self
            .answers
            .send(address, Some(task), id, finished)
            .instrument(span);
        match sent.await {
            Sent::Delivered => self.store.forget_answer(&answer).await,
            Sent::Gone => {
                tracing::info!(task.id = %task, "nobody is left to be told the end of a task");
                self.store.forget_answer(&answer).await
            }
            Sent::Failed if answer.tries >= MOST_TRIES => {
                tracing::warn!(task.id = %task, answer.tries, "answer given up");
                count(Finished::NAME, "given_up");
                self.store.forget_answer(&answer).await
            }
            Sent::Failed => {
                let wait = BACKOFF.delay(answer.tries, &mut rand::rng());
                self.store.postpone_answer(&answer, wait).await
            }
        }
    }
}

/// Describes the end of a task; `None` while it has none.
fn finished(answer: &DueAnswer) -> Option<Finished> {
    let task = &answer.view.task;
    let state = match task.state {
        State::Queued | State::Running => return None,
        State::Succeeded => End::Succeeded,
        State::Failed => End::Failed,
        State::Cancelled => End::Cancelled,
        State::Interrupted => End::Interrupted,
        State::Expired => End::Expired,
    };
    let error = task.error.as_ref().map(|error| Failure {
        reason: error.reason().to_owned(),
        message: error.message().to_owned(),
        code: error.code().to_string(),
    });
    Some(Finished {
        origin: answer.reply_to.origin.clone(),
        task_id: task.id.to_string(),
        state,
        attempts: task.attempt,
        result: answer.view.result.as_ref().and_then(shown),
        error,
    })
}

/// Shows a payload: JSON as it is, anything else as its media type and its bytes in base64.
fn shown(payload: &Payload) -> Option<Box<RawValue>> {
    if payload.content_type == "application/json" {
        let text = std::str::from_utf8(&payload.data).ok().map(str::to_owned);
        if let Some(raw) = text.and_then(|text| RawValue::from_string(text).ok()) {
            return Some(raw);
        }
    }
    let opaque = json!({
        "content_type": payload.content_type,
        "base64": STANDARD.encode(&payload.data),
    });
    to_raw_value(&opaque).ok()
}
