//! Telling the other processes which tasks have news, and hearing it from them.

use sqlx::postgres::PgListener;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;

use super::{Store, uuids};

const CHANNEL: &str = "task_events";

/// Hears which tasks have news.
pub(crate) struct Listener(PgListener);

impl Store {
    /// Tells every process that these tasks have news.
    ///
    /// Not part of the transactions that bring the news: Postgres lets transactions that notify
    /// commit one by one only.
    pub(crate) async fn announce(&self, ids: &[TaskId]) -> Result<(), DatabaseError> {
        self.db
            .run("task.announce", async {
                sqlx::query!(
                    "select pg_notify($1, id::text) from unnest($2::uuid[]) as u (id)",
                    CHANNEL,
                    &uuids(ids),
                )
                .fetch_all(self.db.pool())
                .await
            })
            .await
            .map(drop)
    }

    /// Listens on a connection of its own.
    pub(crate) async fn listen(&self) -> Result<Listener, DatabaseError> {
        self.db.listen(CHANNEL).await.map(Listener)
    }
}

impl Listener {
    /// Waits for news of a task; `None` when some may have been missed.
    pub(crate) async fn next(&mut self) -> Result<Option<TaskId>, DatabaseError> {
        let heard = self.0.try_recv().await?;
        Ok(heard.and_then(|notification| notification.payload().parse().ok()))
    }
}
