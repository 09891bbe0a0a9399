//! Storing a task under its key, or with an answer to keep: all rows or none.

use std::{slice, time::Duration};

use sqlx::PgConnection;
use sutazai_persistence::DatabaseError;

use super::{Store, View, answers, make::make, read::views};
use crate::submission::{IdempotencyKey, Submission};
use uuid::Uuid;

/// Longest wait for a request with the same key that has not ended yet.
const KEY_PATIENCE: Duration = Duration::from_secs(1);
/// SQLSTATE lock_not_available.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// What became of a submission.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Submitted {
    Made(View),
    /// An earlier request with the same key made it.
    Replayed(View),
    /// The key belongs to another request.
    KeyReused,
    /// A request with the same key has not ended yet.
    KeyInFlight,
    UnknownType {
        /// What was asked for.
        name: String,
        known: Vec<String>,
    },
}

impl Submitted {
    pub(crate) fn is_made(&self) -> bool {
        matches!(self, Self::Made(_))
    }
}

/// Where a key stands.
enum KeyState {
    Ours,
    Earlier(Uuid),
    Reused,
    InFlight,
}

impl Store {
    /// Stores a task. Nothing is stored unless the answer is [`Submitted::Made`], but where the end
    /// of a task that an earlier request made is to be told.
    pub(crate) async fn submit(&self, submission: &Submission) -> Result<Submitted, DatabaseError> {
        self.submissions
            .run("task.create", self.try_submit(submission))
            .await
    }

    async fn try_submit(&self, submission: &Submission) -> Result<Submitted, sqlx::Error> {
        let mut tx = self.db.pool().begin().await?;
        if let Some(key) = &submission.key {
            match take_key(&mut tx, submission, key).await? {
                KeyState::Ours => {}
                KeyState::Reused => return Ok(Submitted::KeyReused),
                KeyState::InFlight => return Ok(Submitted::KeyInFlight),
                KeyState::Earlier(id) => {
                    let views = views(&mut tx, &submission.submitter.tenant, &[id]).await?;
                    if let Some(reply_to) = &submission.reply_to {
                        answers::keep(&mut tx, id, reply_to).await?;
                        tx.commit().await?;
                    }
                    return Ok(views
                        .into_iter()
                        .next()
                        .map_or(Submitted::KeyInFlight, Submitted::Replayed));
                }
            }
        }
        let made = make(&mut tx, slice::from_ref(submission)).await?;
        let Some(submitted) = made.into_iter().next() else {
            return Err(sqlx::Error::RowNotFound);
        };
        if submitted.is_made() {
            if let Some(reply_to) = &submission.reply_to {
                answers::keep(&mut tx, submission.id.as_uuid(), reply_to).await?;
            }
            tx.commit().await?;
        }
        Ok(submitted)
    }
}

/// Takes the key for this request, or learns whose it is.
///
/// A request that holds the same key at this moment is waited for, so that the answer is its own.
async fn take_key(
    tx: &mut PgConnection,
    submission: &Submission,
    key: &IdempotencyKey,
) -> Result<KeyState, sqlx::Error> {
    let patience = format!("{}ms", KEY_PATIENCE.as_millis());
    // The limit is set by the statement that waits, to save a way to the server.
    let taken = sqlx::query!(
        "with patience as materialized (select set_config('lock_timeout', $7, true))
         insert into idempotency_keys (tenant_id, subject, operation, key, fingerprint, task_id)
         select $1, $2, $3, $4, $5, $6 from patience
         on conflict do nothing",
        submission.submitter.tenant,
        submission.submitter.subject,
        key.operation.as_str(),
        key.text,
        key.fingerprint,
        submission.id.as_uuid(),
        patience,
    )
    .execute(&mut *tx)
    .await;
    match taken {
        Ok(done) if done.rows_affected() == 1 => return Ok(KeyState::Ours),
        Ok(_) => {}
        Err(sqlx::Error::Database(error))
            if error.code().as_deref() == Some(LOCK_NOT_AVAILABLE) =>
        {
            return Ok(KeyState::InFlight);
        }
        Err(error) => return Err(error),
    }
    let earlier = sqlx::query!(
        "select fingerprint, task_id from idempotency_keys
         where tenant_id = $1 and subject = $2 and operation = $3 and key = $4",
        submission.submitter.tenant,
        submission.submitter.subject,
        key.operation.as_str(),
        key.text,
    )
    .fetch_optional(tx)
    .await?;
    Ok(match earlier {
        Some(earlier) if earlier.fingerprint == key.fingerprint => {
            KeyState::Earlier(earlier.task_id)
        }
        Some(_) => KeyState::Reused,
        // It was given up between the two statements: the next try gets it.
        None => KeyState::InFlight,
    })
}
