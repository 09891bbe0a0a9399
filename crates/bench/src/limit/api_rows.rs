//! The other statements of the API: a task as it is read, a turn as it is kept.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use uuid::Uuid;

use super::task_rows::{Rows, broken};
use crate::{failure::Failure, upstream::MODEL};

/// A task that is read.
#[derive(Debug, FromRow)]
pub(super) struct StoredTask {
    pub(super) id: Uuid,
    #[sqlx(rename = "type")]
    pub(super) kind: String,
    pub(super) state: String,
    pub(super) priority: i16,
    pub(super) attempt: i32,
    pub(super) max_attempts: i32,
    pub(super) effect_mode: String,
    pub(super) created_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) cancel_requested: bool,
    pub(super) subject: String,
    pub(super) payload: Vec<u8>,
}

/// A question with its answer, the first one of its conversation.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) conversation: Uuid,
    pub(super) question: String,
    pub(super) answer: String,
    pub(super) finish_reason: String,
    pub(super) prompt_tokens: i64,
    pub(super) completion_tokens: i64,
    pub(super) asked_at: DateTime<Utc>,
}

impl Rows {
    /// Reads a task with its input.
    pub(super) async fn read(&self, id: Uuid) -> Result<Option<StoredTask>, Failure> {
        sqlx::query_as(
            "select t.id, t.type, t.state, t.priority, t.attempt, t.max_attempts, t.effect_mode,
                    t.created_at, t.updated_at, t.cancel_requested, t.subject, first.payload
             from tasks t join task_events first on first.task_id = t.id and first.sequence = 1
             where t.id = $1 and t.tenant_id = 'default'",
        )
        .bind(id)
        .fetch_optional(&self.0)
        .await
        .map_err(broken)
    }

    /// Keeps a conversation and its first turn: one transaction.
    pub(super) async fn keep(&self, turn: &Turn) -> Result<(), Failure> {
        let mut tx = self.0.begin().await.map_err(broken)?;
        sqlx::query(
            "insert into backend.conversations (id, tenant_id, subject, title, turns)
             values ($1, 'default', 'bench', $2, 1)",
        )
        .bind(turn.conversation)
        .bind(&turn.question)
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        sqlx::query(
            "insert into backend.turns (conversation_id, number, tenant_id, subject, question,
                                        answer, model, finish_reason, prompt_tokens,
                                        completion_tokens, asked_at)
             values ($1, 1, 'default', 'bench', $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(turn.conversation)
        .bind(&turn.question)
        .bind(&turn.answer)
        .bind(MODEL)
        .bind(&turn.finish_reason)
        .bind(turn.prompt_tokens)
        .bind(turn.completion_tokens)
        .bind(turn.asked_at)
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        tx.commit().await.map_err(broken)
    }
}
