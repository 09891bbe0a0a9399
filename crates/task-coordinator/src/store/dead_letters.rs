//! Messages that nobody could use. They name no tenant.

use std::{collections::BTreeMap, time::Duration};

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sutazai_messaging::message::Properties;
use sutazai_persistence::DatabaseError;
use uuid::Uuid;

use super::{Store, rows::decoded, seconds};
use crate::dead_letter::DeadLetter;

/// A redrive that did not come to its end is believed to go on for this long.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// A place in the list, which begins with the newest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) received_at: DateTime<Utc>,
    pub(crate) id: Uuid,
}

/// Where the wish to send a message again stands.
#[derive(Clone, Debug)]
pub(crate) enum Redrive {
    /// It is the caller's to send, and to end or abandon.
    Begun(DeadLetter),
    Done(DeadLetter),
    InFlight,
    /// Only a part of its body was kept, of this size.
    Cut(u64),
}

/// A row of table `stray_messages`.
struct Row {
    id: Uuid,
    message_id: String,
    queue: String,
    reason: String,
    headers: Json<BTreeMap<String, String>>,
    content_type: String,
    routing_key: String,
    reply_to: Option<String>,
    correlation_id: Option<String>,
    user_id: Option<String>,
    task_id: Option<Uuid>,
    body: Vec<u8>,
    size: i64,
    redrives: i32,
    received_at: DateTime<Utc>,
    redriven_at: Option<DateTime<Utc>>,
}

impl Store {
    /// Keeps a message. One that was sent again since it died is dead again.
    ///
    /// Anybody can write any count into a message: it is compared with the count here, and never
    /// taken over.
    pub(crate) async fn keep_dead_letter(
        &self,
        letter: &DeadLetter,
        fingerprint: &[u8],
    ) -> Result<(), DatabaseError> {
        self.db
            .run("dead_letters.keep", async {
                sqlx::query!(
                    "insert into stray_messages (id, message_id, queue, reason, headers, body,
                         content_type, routing_key, reply_to, correlation_id, user_id, task_id,
                         size, fingerprint)
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                     on conflict (fingerprint) do update
                     set redrives = stray_messages.redrives + 1, reason = excluded.reason,
                         headers = excluded.headers, received_at = now(), redriven_at = null,
                         redrive_started_at = null
                     where stray_messages.redrives < $15",
                    letter.id,
                    letter.message_id,
                    letter.queue,
                    letter.reason,
                    Json(&letter.headers) as _,
                    letter.body.as_ref(),
                    letter.content_type,
                    letter.routing_key,
                    letter.properties.reply_to,
                    letter.properties.correlation_id,
                    letter.properties.user_id,
                    letter.task,
                    decoded(i64::try_from(letter.size))?,
                    fingerprint,
                    i32::try_from(letter.redrives).unwrap_or(i32::MAX),
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Lists messages without their bodies, newest first.
    pub(crate) async fn dead_letters(
        &self,
        after: Option<Spot>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, DatabaseError> {
        self.db
            .run("dead_letters.list", async {
                let rows = sqlx::query_as!(
                    Row,
                    r#"select id, message_id, queue, reason,
                              headers as "headers: Json<BTreeMap<String, String>>", content_type,
                              routing_key, reply_to, correlation_id, user_id, task_id,
                              ''::bytea as "body!", size, redrives, received_at, redriven_at
                       from stray_messages
                       where (received_at, id) < (coalesce($1, timestamptz 'infinity'),
                                                  coalesce($2, uuid 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
                       order by received_at desc, id desc limit $3"#,
                    after.map(|spot| spot.received_at),
                    after.map(|spot| spot.id),
                    i64::from(limit),
                )
                .fetch_all(self.db.pool())
                .await?;
                rows.into_iter().map(DeadLetter::try_from).collect()
            })
            .await
    }

    pub(crate) async fn dead_letter(&self, id: Uuid) -> Result<Option<DeadLetter>, DatabaseError> {
        self.db
            .run("dead_letters.get", async {
                let row = sqlx::query_as!(
                    Row,
                    r#"select id, message_id, queue, reason,
                              headers as "headers: Json<BTreeMap<String, String>>", content_type,
                              routing_key, reply_to, correlation_id, user_id, task_id, body, size,
                              redrives, received_at, redriven_at
                       from stray_messages where id = $1"#,
                    id,
                )
                .fetch_optional(self.db.pool())
                .await?;
                row.map(DeadLetter::try_from).transpose()
            })
            .await
    }

    /// Removes a message; false when there is none.
    pub(crate) async fn delete_dead_letter(&self, id: Uuid) -> Result<bool, DatabaseError> {
        self.db
            .run("dead_letters.delete", async {
                sqlx::query!("delete from stray_messages where id = $1", id)
                    .execute(self.db.pool())
                    .await
            })
            .await
            .map(|done| done.rows_affected() > 0)
    }

    /// Begins to send a message again, unless somebody else does; `None` when there is none.
    pub(crate) async fn begin_redrive(&self, id: Uuid) -> Result<Option<Redrive>, DatabaseError> {
        let begun = self
            .db
            .run("dead_letters.redrive", async {
                sqlx::query!(
                    "update stray_messages set redrive_started_at = clock_timestamp()
                     where id = $1 and redriven_at is null and size = length(body)
                       and coalesce(redrive_started_at, '-infinity')
                           < clock_timestamp() - make_interval(secs => $2)",
                    id,
                    seconds(UNDER_WAY),
                )
                .execute(self.db.pool())
                .await
            })
            .await?
            .rows_affected()
            > 0;
        let found = self.dead_letter(id).await?;
        Ok(found.map(|letter| match &letter {
            letter if letter.size > letter.body.len() as u64 => Redrive::Cut(letter.size),
            letter if letter.redriven_at.is_some() => Redrive::Done(letter.clone()),
            letter if begun => Redrive::Begun(letter.clone()),
            _ => Redrive::InFlight,
        }))
    }

    /// Writes that the broker took the message over, unless it has died again meanwhile.
    pub(crate) async fn end_redrive(&self, letter: &DeadLetter) -> Result<(), DatabaseError> {
        self.db
            .run("dead_letters.redriven", async {
                sqlx::query!(
                    "update stray_messages
                     set redriven_at = clock_timestamp(), redrive_started_at = null
                     where id = $1 and redrives = $2",
                    letter.id,
                    decoded(i32::try_from(letter.redrives))?,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Writes that the broker did not take the message over.
    pub(crate) async fn abandon_redrive(&self, letter: &DeadLetter) -> Result<(), DatabaseError> {
        self.db
            .run("dead_letters.abandon", async {
                sqlx::query!(
                    "update stray_messages set redrive_started_at = null
                     where id = $1 and redrives = $2",
                    letter.id,
                    decoded(i32::try_from(letter.redrives))?,
                )
                .execute(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }
}

impl TryFrom<Row> for DeadLetter {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.id,
            message_id: row.message_id,
            queue: row.queue,
            reason: row.reason,
            headers: row.headers.0,
            content_type: row.content_type,
            routing_key: row.routing_key,
            properties: Properties {
                reply_to: row.reply_to,
                correlation_id: row.correlation_id,
                user_id: row.user_id,
            },
            task: row.task_id,
            body: row.body.into(),
            size: decoded(row.size.try_into())?,
            redrives: decoded(row.redrives.try_into())?,
            received_at: row.received_at,
            redriven_at: row.redriven_at,
        })
    }
}
