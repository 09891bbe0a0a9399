//! Telling the other processes which tasks have news, and hearing it from them.

use sqlx::postgres::PgListener;
use sutazai_persistence::DatabaseError;
use sutazai_proto::ids::TaskId;

use super::{Store, uuids};

const CHANNEL: &str = "task_events";
/// Most ids in one notification: Postgres takes less than 8,000 bytes.
const TOGETHER: i64 = 200;

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
                    "select pg_notify($1, string_agg(id::text, ','))
                     from unnest($2::uuid[]) with ordinality as u (id, place)
                     group by (place - 1) / $3",
                    CHANNEL,
                    &uuids(ids),
                    TOGETHER,
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
    /// Waits for news of tasks; `None` when some may have been missed.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<TaskId>>, DatabaseError> {
        let heard = self.0.try_recv().await?;
        Ok(heard.and_then(|notification| {
            let ids = notification.payload().split(',').map(str::parse);
            ids.collect::<Result<_, _>>().ok()
        }))
    }
}
