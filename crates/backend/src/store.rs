//! The conversations of schema `backend`; every query names the owner.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sutazai_persistence::{Database, DatabaseError};
use sutazai_proto::ids::ConversationId;

use crate::conversation::{
    ContextLimits, ContextTurn, Conversation, Exchange, Owner, Place, Turn, storable, title,
};

/// Schema of the backend's own tables.
pub const SCHEMA: &str = "backend";

/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!();

/// Conversations removed by one statement of the retention job.
const EXPIRY_BATCH: i64 = 500;

/// Keeps conversations.
#[derive(Clone)]
pub(crate) struct Conversations {
    db: Database,
}

impl Conversations {
    pub(crate) fn new(db: Database) -> Self {
        Self { db }
    }

    /// Returns the newest turns within the limits, oldest first; `None` without such a conversation.
    pub(crate) async fn context(
        &self,
        owner: &Owner,
        id: ConversationId,
        limits: ContextLimits,
    ) -> Result<Option<Vec<ContextTurn>>, DatabaseError> {
        // The outer join answers one row of nulls for a conversation none of whose turns fits.
        let rows = self
            .db
            .run("conversation.context", async {
                sqlx::query!(
                    r#"select recent.question as "question?", recent.answer as "answer?"
                       from conversations c
                       left join lateral (
                           select t.number, t.question, t.answer,
                                  sum(octet_length(t.question) + octet_length(t.answer))
                                      over (order by t.number desc) as bytes
                           from turns t
                           where t.conversation_id = c.id
                           order by t.number desc
                           limit $4
                       ) recent on recent.bytes <= $5
                       where c.id = $1 and c.tenant_id = $2 and c.subject = $3
                       order by recent.number"#,
                    id.as_uuid(),
                    owner.tenant,
                    owner.subject,
                    i64::from(limits.turns),
                    i64::from(limits.bytes),
                )
                .fetch_all(self.db.pool())
                .await
            })
            .await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let turns = rows.into_iter().filter_map(|row| {
            Some(ContextTurn {
                question: row.question?,
                answer: row.answer?,
            })
        });
        Ok(Some(turns.collect()))
    }

    /// Stores a finished turn, and its conversation with the first one, in one transaction.
    ///
    /// Answers `false` when the conversation it continues was removed meanwhile.
    pub(crate) async fn append(
        &self,
        owner: &Owner,
        place: Place,
        exchange: &Exchange,
    ) -> Result<bool, DatabaseError> {
        self.db
            .run("conversation.append", async {
                let mut tx = self.db.pool().begin().await?;
                let number = match place {
                    Place::Beginning(id) => Some(begin(&mut tx, owner, id, exchange).await?),
                    Place::Continuing(id) => next_number(&mut tx, owner, id).await?,
                };
                let Some(number) = number else {
                    tx.rollback().await?;
                    return Ok(false);
                };
                insert_turn(&mut tx, owner, place.id(), number, exchange).await?;
                tx.commit().await?;
                Ok(true)
            })
            .await
    }

    /// Lists conversations, newest first, from just before `before` on.
    pub(crate) async fn list(
        &self,
        owner: &Owner,
        before: Option<ConversationId>,
        limit: u32,
    ) -> Result<Vec<Conversation>, DatabaseError> {
        self.db
            .run("conversation.list", async {
                sqlx::query_as!(
                    ConversationRow,
                    r#"select id, title, turns, created_at, updated_at
                       from conversations
                       where tenant_id = $1 and subject = $2 and ($3::uuid is null or id < $3)
                       order by id desc
                       limit $4"#,
                    owner.tenant,
                    owner.subject,
                    before.map(ConversationId::as_uuid),
                    i64::from(limit),
                )
                .fetch_all(self.db.pool())
                .await
            })
            .await
            .map(|rows| rows.into_iter().map(Conversation::from).collect())
    }

    /// Returns a conversation and its newest turns before number `before`, newest first.
    pub(crate) async fn get(
        &self,
        owner: &Owner,
        id: ConversationId,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Option<(Conversation, Vec<Turn>)>, DatabaseError> {
        self.db
            .run("conversation.get", async {
                let Some(conversation) = sqlx::query_as!(
                    ConversationRow,
                    r#"select id, title, turns, created_at, updated_at
                       from conversations
                       where id = $1 and tenant_id = $2 and subject = $3"#,
                    id.as_uuid(),
                    owner.tenant,
                    owner.subject,
                )
                .fetch_optional(self.db.pool())
                .await?
                else {
                    return Ok(None);
                };
                let turns = sqlx::query_as!(
                    TurnRow,
                    r#"select number, question, answer, model, finish_reason, prompt_tokens,
                              completion_tokens, asked_at, answered_at
                       from turns
                       where conversation_id = $1 and tenant_id = $2 and subject = $3
                         and ($4::bigint is null or number < $4)
                       order by number desc
                       limit $5"#,
                    id.as_uuid(),
                    owner.tenant,
                    owner.subject,
                    before,
                    i64::from(limit),
                )
                .fetch_all(self.db.pool())
                .await?;
                let turns = turns.into_iter().map(Turn::from).collect();
                Ok(Some((conversation.into(), turns)))
            })
            .await
    }

    /// Removes a conversation with its turns; answers whether there was one.
    pub(crate) async fn delete(
        &self,
        owner: &Owner,
        id: ConversationId,
    ) -> Result<bool, DatabaseError> {
        self.db
            .run("conversation.delete", async {
                sqlx::query!(
                    "delete from conversations where id = $1 and tenant_id = $2 and subject = $3",
                    id.as_uuid(),
                    owner.tenant,
                    owner.subject,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(|done| done.rows_affected() > 0)
    }

    /// Removes a batch of conversations without a turn for `days`; answers how many.
    pub(crate) async fn expire(&self, days: u32) -> Result<u64, DatabaseError> {
        let days = i32::try_from(days).unwrap_or(i32::MAX);
        self.db
            .run("conversation.expire", async {
                sqlx::query!(
                    "delete from conversations
                     where id in (
                         select id from conversations
                         where updated_at < now() - make_interval(days => $1)
                         order by updated_at
                         limit $2
                         for update skip locked
                     )",
                    days,
                    EXPIRY_BATCH,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(|done| done.rows_affected())
    }
}

struct ConversationRow {
    id: uuid::Uuid,
    title: String,
    turns: i64,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl From<ConversationRow> for Conversation {
    fn from(row: ConversationRow) -> Self {
        Self {
            id: row.id.into(),
            title: row.title,
            turns: row.turns,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

struct TurnRow {
    number: i64,
    question: String,
    answer: String,
    model: String,
    finish_reason: String,
    prompt_tokens: i64,
    completion_tokens: i64,
    asked_at: DateTime<Utc>,
    answered_at: DateTime<Utc>,
}

impl From<TurnRow> for Turn {
    fn from(row: TurnRow) -> Self {
        Self {
            number: row.number,
            answered_at: row.answered_at,
            exchange: Exchange {
                question: row.question,
                answer: row.answer,
                model: row.model,
                finish_reason: row.finish_reason,
                prompt_tokens: u32::try_from(row.prompt_tokens).unwrap_or(u32::MAX),
                completion_tokens: u32::try_from(row.completion_tokens).unwrap_or(u32::MAX),
                asked_at: row.asked_at,
            },
        }
    }
}

async fn begin(
    tx: &mut PgConnection,
    owner: &Owner,
    id: ConversationId,
    exchange: &Exchange,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        "insert into conversations (id, tenant_id, subject, title, turns)
         values ($1, $2, $3, $4, 1)
         returning turns",
        id.as_uuid(),
        owner.tenant,
        owner.subject,
        storable(&title(&exchange.question)),
    )
    .fetch_one(tx)
    .await
}

/// Locks the conversation, so that two turns that end at once get numbers one after the other.
async fn next_number(
    tx: &mut PgConnection,
    owner: &Owner,
    id: ConversationId,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar!(
        "update conversations set turns = turns + 1, updated_at = now()
         where id = $1 and tenant_id = $2 and subject = $3
         returning turns",
        id.as_uuid(),
        owner.tenant,
        owner.subject,
    )
    .fetch_optional(tx)
    .await
}

async fn insert_turn(
    tx: &mut PgConnection,
    owner: &Owner,
    id: ConversationId,
    number: i64,
    exchange: &Exchange,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "insert into turns (conversation_id, number, tenant_id, subject, question, answer, model,
                            finish_reason, prompt_tokens, completion_tokens, asked_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        id.as_uuid(),
        number,
        owner.tenant,
        owner.subject,
        storable(&exchange.question),
        storable(&exchange.answer),
        exchange.model,
        exchange.finish_reason,
        i64::from(exchange.prompt_tokens),
        i64::from(exchange.completion_tokens),
        exchange.asked_at,
    )
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests;
