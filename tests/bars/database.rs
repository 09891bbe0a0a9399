//! What is stored, read from the database itself and not through the platform.

use sqlx::{Connection, PgConnection};
use system_tests::{eventually, platform::Platform};

/// Connects as the database's own user.
pub(crate) async fn connect(platform: &Platform) -> PgConnection {
    let url = platform.superuser_url();
    eventually("the database answers", async || {
        PgConnection::connect(&url).await.ok()
    })
    .await
}

/// Returns what a query counts.
pub(crate) async fn count(database: &mut PgConnection, sql: &'static str) -> u64 {
    let count = sqlx::query_scalar(sql).fetch_one(database).await;
    let count: i64 = count.expect("a count");
    count.cast_unsigned()
}
