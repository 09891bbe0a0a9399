//! Opening the pool.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::{
    Connection, PgPool,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use sutazai_resilience::{Backoff, Deadline};

use super::Settings;
use crate::error::{DatabaseError, is_unreachable};

/// A connection that nobody used for this long is closed, down to the minimum.
const IDLE: Duration = Duration::from_secs(300);
/// A connection of this age is replaced, so that the server's memory for it does not grow.
const AGE: Duration = Duration::from_secs(1_800);
/// A transaction whose client keeps silent this long is rolled back and lets go of its locks.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(30);
/// Waits between two tries to reach a server that is starting.
const RETRY: Backoff = Backoff {
    min: Duration::from_millis(50),
    max: Duration::from_secs(1),
};

/// Opens the pool after the server answered once.
pub(super) async fn pool(settings: &Settings) -> Result<PgPool, DatabaseError> {
    let options = options(settings)?;
    reach(&options, settings.connect_within).await?;
    let max = settings.pool_max.max(1);
    let pool = PgPoolOptions::new()
        .min_connections(settings.pool_min.min(max))
        .max_connections(max)
        .acquire_timeout(settings.acquire_timeout)
        .idle_timeout(IDLE)
        .max_lifetime(AGE)
        .test_before_acquire(true);
    #[expect(clippy::disallowed_methods, reason = "this is where pools are opened")]
    Ok(pool.connect_lazy_with(options))
}

/// Opens a connection of its own that hears one channel, and opens it again when it is lost.
pub(super) async fn listener(
    options: PgConnectOptions,
    acquire_timeout: Duration,
    channel: &str,
) -> Result<PgListener, sqlx::Error> {
    // A pool of one only because the listener asks for a pool. Its connection never rests.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .acquire_timeout(acquire_timeout)
        .idle_timeout(None)
        .max_lifetime(None);
    #[expect(clippy::disallowed_methods, reason = "this is where pools are opened")]
    let pool = pool.connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.listen(channel).await?;
    Ok(listener)
}

/// Settings that hold for the session from its first statement on.
fn options(settings: &Settings) -> Result<PgConnectOptions, DatabaseError> {
    let url: PgConnectOptions = settings.url.expose_secret().parse()?;
    let millis = |limit: Duration| limit.as_millis().to_string();
    Ok(url.application_name(&settings.application_name).options([
        ("search_path", settings.schema.to_owned()),
        ("statement_timeout", millis(settings.statement_timeout)),
        (
            "idle_in_transaction_session_timeout",
            millis(IDLE_IN_TRANSACTION),
        ),
        // Plans are cheap and many: compiling them costs more than it saves.
        ("jit", "off".to_owned()),
        // A connection keeps the plans of its statements. Those made while a table is empty would read all of
        // it, row after row, until the server's next statistics, however it grows meanwhile.
        ("enable_seqscan", "off".to_owned()),
        // Data lies on solid-state disks or in memory.
        ("random_page_cost", "1.1".to_owned()),
    ]))
}

/// Asks until the server answers, for as long as it may be starting.
async fn reach(options: &PgConnectOptions, within: Duration) -> Result<(), DatabaseError> {
    let deadline = Deadline::after(within);
    let mut attempt = 0;
    loop {
        let error = match deadline.run(ask(options)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_elapsed) => sqlx::Error::PoolTimedOut,
        };
        if !is_unreachable(&error) {
            return Err(error.into());
        }
        attempt += 1;
        let wait = RETRY.delay(attempt, &mut rand::rng());
        if deadline.remaining() <= wait {
            return Err(DatabaseError::Unavailable(error));
        }
        tracing::info!(%error, attempt, "database does not answer yet");
        tokio::time::sleep(wait).await;
    }
}

async fn ask(options: &PgConnectOptions) -> Result<(), sqlx::Error> {
    let mut connection = sqlx::PgConnection::connect_with(options).await?;
    connection.ping().await?;
    connection.close().await
}
