//! What the doors remember about keys.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use futures::FutureExt;
use moka::sync::Cache;
use sutazai_persistence::DatabaseError;
use sutazai_resilience::Flights;

use crate::{api_key::KeyHash, principal::Principal};

/// Longest time for which an answer holds when no word of a change comes through.
const HOLDS: Duration = Duration::from_secs(25);
/// How many answers are kept, those about unknown keys among them.
const KEPT: u64 = 10_000;

/// Answers of the database, each good until anything changes.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    kept: Cache<KeyHash, (Generation, Answer)>,
    asking: Flights<KeyHash, Generation, Result<Answer, Arc<DatabaseError>>>,
    generation: Arc<AtomicU64>,
}

/// How often something had changed when a question was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Generation(u64);

/// What the database says about a hash; `None` when the key opens nothing.
pub(super) type Answer = Option<Arc<Known>>;

/// A key that opens something.
#[derive(Debug)]
pub(super) struct Known {
    /// The owner, narrowed to the scopes of the key.
    pub(super) principal: Arc<Principal>,
    /// Judged at every use: an answer may outlive its key.
    pub(super) expires_at: DateTime<Utc>,
}

impl Answers {
    pub(super) fn new() -> Self {
        Self {
            kept: Cache::builder()
                .max_capacity(KEPT)
                .time_to_live(HOLDS)
                .build(),
            asking: Flights::default(),
            generation: Arc::default(),
        }
    }

    /// Returns what is remembered of a key, else what `ask` brings.
    ///
    /// Of callers at the same time one asks and all get its answer, its error, too; an error is not
    /// remembered. Who calls after a change does not get the answer to a question from before it.
    pub(super) async fn get_or_ask<F>(
        &self,
        hash: KeyHash,
        ask: impl FnOnce() -> F,
    ) -> Result<Answer, Arc<DatabaseError>>
    where
        F: Future<Output = Result<Answer, DatabaseError>> + Send + 'static,
    {
        if let Some(answer) = self.get(&hash) {
            return Ok(answer);
        }
        let asked = self.generation();
        let suits = |earlier| earlier == self.generation();
        let (flight, _) = self.asking.board(hash, asked, suits, || {
            let (answers, question) = (self.clone(), ask());
            let flight = async move {
                // Somebody may have got it between this caller's look and its boarding.
                if let Some(answer) = answers.get(&hash) {
                    return Ok(answer);
                }
                let answer = question.await?;
                answers.put(hash, asked, answer.clone());
                Ok(answer)
            };
            flight.boxed()
        });
        flight.await
    }

    /// To be taken before the question is put.
    fn generation(&self) -> Generation {
        Generation(self.generation.load(Ordering::Acquire))
    }

    /// Something has changed: no answer to an earlier question holds, not even one that is still
    /// on its way.
    pub(super) fn forget(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn get(&self, hash: &KeyHash) -> Option<Answer> {
        let (asked, answer) = self.kept.get(hash)?;
        (asked == self.generation()).then_some(answer)
    }

    fn put(&self, hash: KeyHash, asked: Generation, answer: Answer) {
        self.kept.insert(hash, (asked, answer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api_key::ApiKey;

    #[test]
    fn sec_04_an_answer_that_was_on_its_way_during_a_change_is_not_believed() {
        let answers = Answers::new();
        let hash = ApiKey::generate("test").unwrap().hash();
        let asked = answers.generation();
        answers.forget();
        answers.put(hash, asked, None);
        assert!(answers.get(&hash).is_none());

        answers.put(hash, answers.generation(), None);
        assert!(answers.get(&hash).is_some());
        answers.forget();
        assert!(answers.get(&hash).is_none());
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let answers = Answers::new();
        for _ in 0..KEPT + 2_000 {
            let hash = ApiKey::generate("test").unwrap().hash();
            answers.put(hash, answers.generation(), None);
        }
        answers.kept.run_pending_tasks();
        assert!(answers.kept.entry_count() <= KEPT);
    }
}
