//! The one way to a Postgres: a pool behind a turnstile, a breaker and a clock.

mod connect;
mod settings;
mod share;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use sqlx::{PgPool, postgres::PgListener};
use sutazai_resilience::{Breaker, Breakers, Deadline};
use sutazai_telemetry::names;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout},
};
use tracing::Instrument;

pub use self::{settings::Settings, share::Share};
use crate::error::{DatabaseError, is_unreachable};

/// A statement that the server cancels should answer before the work is given up from here.
const CAP_MARGIN: Duration = Duration::from_secs(1);

/// A pool of connections to one schema; clones share it.
#[derive(Clone, Debug)]
pub struct Database(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    schema: &'static str,
    breaker: Breaker,
    /// As many turns as connections. Who has a turn and still gets no connection knows that the
    /// server is at fault, not the load.
    turns: Semaphore,
    max: u32,
    waiting: AtomicU32,
    /// Units of work that the server answered.
    answered: AtomicU64,
    acquire_timeout: Duration,
    cap: Duration,
}

/// A pool at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    /// Connections that are open.
    pub size: u32,
    /// Open connections that nobody uses.
    pub idle: u32,
    /// Open connections in use.
    pub in_use: u32,
    /// Connections that may be open.
    pub max: u32,
    /// Units of work that wait for their turn.
    pub waiters: u32,
}

impl Database {
    /// Opens the pool and waits until the server answers.
    ///
    /// A server that is still starting is asked again until `settings.connect_within` is over.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when the server does not answer in time,
    /// [`DatabaseError::Query`] when it refuses this login or the URL is malformed.
    pub async fn connect(settings: &Settings, breakers: &Breakers) -> Result<Self, DatabaseError> {
        let max = settings.pool_max.max(1);
        let turns = usize::try_from(max).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self(Arc::new(Inner {
            pool: connect::pool(settings).await?,
            schema: settings.schema,
            breaker: breakers.get(&format!("postgres:{}", settings.schema)),
            turns: Semaphore::new(turns),
            max,
            waiting: AtomicU32::new(0),
            answered: AtomicU64::new(0),
            acquire_timeout: settings.acquire_timeout,
            cap: settings.statement_timeout + CAP_MARGIN,
        })))
    }

    /// Returns the pool, for use inside [`run`](Self::run).
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// Returns a share of half of the connections.
    pub fn half(&self) -> Share {
        Share::half(self.clone())
    }

    /// Returns the schema that unqualified names mean.
    pub fn schema(&self) -> &'static str {
        self.0.schema
    }

    /// Does one unit of work: waits for a turn, asks the breaker, measures, and ends it in time.
    ///
    /// `query_type` names the work, for example `task.create`. The work takes one connection from
    /// [`pool`](Self::pool) at a time, and calls no `run` inside.
    ///
    /// # Errors
    /// [`DatabaseError`]; only a server that can not be reached or keeps silent counts for the
    /// breaker, an answer never does.
    pub async fn run<T>(
        &self,
        query_type: &'static str,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        let begun = Instant::now();
        let span = tracing::info_span!(
            "db.run",
            "otel.name" = query_type,
            "otel.kind" = "client",
            "otel.status_code" = tracing::field::Empty,
            "db.system.name" = "postgresql",
            "db.namespace" = self.0.schema,
            "db.operation.name" = query_type,
            "error.type" = tracing::field::Empty,
        );
        let result = self.guarded(work).instrument(span.clone()).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => error.outcome(),
        };
        if result.is_err() {
            span.record("otel.status_code", "ERROR");
            span.record("error.type", outcome);
        }
        metrics::histogram!(names::DB_QUERY_DURATION_SECONDS, "query_type" => query_type)
            .record(begun.elapsed());
        metrics::counter!(names::DB_QUERIES_TOTAL, "query_type" => query_type, "outcome" => outcome)
            .increment(1);
        result
    }

    /// Hears what is notified on a channel, over a connection outside the pool and its turns.
    ///
    /// # Errors
    /// [`DatabaseError::Unavailable`] when the server can not be reached.
    pub async fn listen(&self, channel: &str) -> Result<PgListener, DatabaseError> {
        let options = (*self.0.pool.connect_options()).clone();
        Ok(connect::listener(options, self.0.acquire_timeout, channel).await?)
    }

    /// Has the server write and answer, and returns the evidence.
    ///
    /// # Errors
    /// As [`run`](Self::run); a standby, which can not write, is refused, too.
    pub async fn ping(&self) -> Result<String, DatabaseError> {
        self.publish();
        // Assigning a transaction id is a write, and leaves nothing behind.
        let ask = "select pg_current_xact_id()::text, current_setting('server_version')";
        let answer = sqlx::query_as::<_, (String, String)>(ask).fetch_one(self.pool());
        let (transaction, version) = self.run("ping", answer).await?;
        let PoolStats {
            size, in_use, max, ..
        } = self.pool_stats();
        Ok(format!(
            "PostgreSQL {version}, transaction {transaction}, {size} of {max} connections, {in_use} in use"
        ))
    }

    /// Returns the numbers of the pool.
    pub fn pool_stats(&self) -> PoolStats {
        let size = self.0.pool.size();
        let idle = u32::try_from(self.0.pool.num_idle())
            .unwrap_or(size)
            .min(size);
        PoolStats {
            size,
            idle,
            in_use: size - idle,
            max: self.0.max,
            waiters: self.0.waiting.load(Ordering::Relaxed),
        }
    }

    /// Refuses further work and closes each connection when its user is done.
    pub async fn close(&self) {
        self.0.turns.close();
        self.0.pool.close().await;
    }

    async fn guarded<T>(
        &self,
        work: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DatabaseError> {
        let _turn = self.turn().await?;
        let permit = self.0.breaker.permit()?;
        let answered = self.0.answered.load(Ordering::Relaxed);
        match Deadline::after(self.0.cap).run(work).await {
            Ok(Ok(value)) => {
                self.0.answered.fetch_add(1, Ordering::Relaxed);
                permit.success();
                Ok(value)
            }
            // Others got answers meanwhile: somebody holds a connection without a turn, for
            // example to listen, and blames nobody.
            Ok(Err(sqlx::Error::PoolTimedOut))
                if self.0.answered.load(Ordering::Relaxed) != answered =>
            {
                Err(DatabaseError::PoolTimeout)
            }
            Ok(Err(error)) if is_unreachable(&error) => {
                permit.failure(&error.to_string());
                count_connection_error();
                Err(DatabaseError::Unavailable(error))
            }
            Ok(Err(error @ sqlx::Error::PoolClosed)) => Err(error.into()),
            Ok(Err(error)) => {
                self.0.answered.fetch_add(1, Ordering::Relaxed);
                permit.success();
                Err(error.into())
            }
            Err(_elapsed) => {
                permit.failure("no answer in time");
                count_connection_error();
                Err(DatabaseError::Timeout)
            }
        }
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>, DatabaseError> {
        let begun = Instant::now();
        let turn = match self.0.turns.try_acquire() {
            Ok(turn) => Ok(turn),
            Err(_busy) => {
                let _waiting = Waiting::begin(&self.0.waiting);
                timeout(self.0.acquire_timeout, self.0.turns.acquire())
                    .await
                    .map_err(|_elapsed| DatabaseError::PoolTimeout)?
                    .map_err(|_closed| sqlx::Error::PoolClosed.into())
            }
        };
        metrics::histogram!(names::DB_POOL_WAIT_SECONDS, "schema" => self.0.schema)
            .record(begun.elapsed());
        turn
    }

    fn publish(&self) {
        let stats = self.pool_stats();
        let schema = self.0.schema;
        for (state, count) in [
            ("idle", stats.idle),
            ("in_use", stats.in_use),
            ("max", stats.max),
        ] {
            metrics::gauge!(names::DB_POOL_CONNECTIONS, "schema" => schema, "state" => state)
                .set(count);
        }
        metrics::gauge!(names::DB_POOL_WAITERS, "schema" => schema).set(stats.waiters);
    }
}

fn count_connection_error() {
    metrics::counter!(names::CONNECTION_ERRORS_TOTAL, "to" => "postgres").increment(1);
}

/// Counts one waiter, also when its caller goes away.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn begin(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
