//! The statements of the task pipeline, as the coordinator's store makes them, with nothing around.

use std::error::Error;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use sutazai_persistence::migrate::migrate;
use uuid::Uuid;

use crate::failure::Failure;

/// Connections, as many as the coordinator has.
const CONNECTIONS: u32 = 16;
const DATABASE: &str = "bench_limit";
/// Most rows of one transaction.
const BATCH: i64 = 128;

/// The rows of one task type, in the coordinator's tables, in a database apart.
#[derive(Clone, Debug)]
pub(crate) struct Rows(pub(super) PgPool);

impl Rows {
    /// Makes the database and its tables anew; `url` is the superuser's way to the platform's own.
    pub(crate) async fn new(url: &str) -> Result<Self, Failure> {
        let platform = judge(url).await?;
        for make in [
            "drop database if exists bench_limit with (force)",
            "create database bench_limit",
        ] {
            let made = sqlx::query(make).execute(&platform).await;
            made.map_err(broken)?;
        }
        let (server, _) = url.rsplit_once('/').unwrap_or((url, ""));
        let url: SecretString = format!("{server}/{DATABASE}").into();
        for (schema, migrator) in [
            (task_coordinator::SCHEMA, &task_coordinator::MIGRATOR),
            (backend::SCHEMA, &backend::MIGRATOR),
        ] {
            let made = migrate(&url, schema, migrator).await;
            made.map_err(broken)?;
        }
        let options: PgConnectOptions = url.expose_secret().parse().map_err(broken)?;
        let options = options.options([
            ("search_path", task_coordinator::SCHEMA),
            // Plans are made while the tables are empty, and kept: as ours.
            ("enable_seqscan", "off"),
        ]);
        let pool = PgPoolOptions::new().max_connections(CONNECTIONS);
        #[expect(
            clippy::disallowed_methods,
            reason = "the limit goes around the pool that ours is compared with"
        )]
        let pool = pool.connect_with(options).await.map_err(broken)?;
        Ok(Self(pool))
    }

    /// Stores a task, its first event and its outbox row: one transaction, as its submitter waits.
    pub(crate) async fn accept(&self, id: Uuid, input: &[u8]) -> Result<(), Failure> {
        let mut tx = self.0.begin().await.map_err(broken)?;
        sqlx::query(
            "insert into tasks (id, tenant_id, subject, roles, scopes, trace, type, priority,
                                max_attempts, effect_mode, attempt_timeout_ms, state, attempt,
                                released, cancel_requested, created_at, updated_at, sequence)
             values ($1, 'default', 'bench', '{user}', '{}', '{}', 'bench', 5, 3, 'idempotent',
                     60000, 'queued', 0, false, false, now(), now(), 1)",
        )
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        sqlx::query(
            "insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state, payload)
             values ($1, 'default', 1, 'created', now(), 0, 'queued', $2)",
        )
        .bind(id)
        .bind(input)
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        sqlx::query(
            "insert into outbox (task_id, tenant_id, type, priority, phase, due_at)
             values ($1, 'default', 'bench', 5, 'ready', now())",
        )
        .bind(id)
        .execute(&mut *tx)
        .await
        .map_err(broken)?;
        tx.commit().await.map_err(broken)
    }

    /// Takes tasks that are to be sent.
    pub(crate) async fn pick(&self) -> Result<Vec<(Uuid, Vec<u8>)>, Failure> {
        let picked = sqlx::query_as(
            "with picked as (
                 select task_id from outbox where type = 'bench' and phase = 'ready'
                 order by priority desc, task_id limit $1 for update skip locked
             ), released as (
                 update outbox o set phase = 'released', message_id = gen_random_uuid(),
                                     due_at = clock_timestamp() + interval '10 s'
                 where o.task_id = any(array(select task_id from picked)) returning o.task_id
             )
             select r.task_id, e.payload from released r
             cross join lateral (select payload from task_events
                                 where task_id = r.task_id and sequence = 1 limit 1) e",
        );
        picked.bind(BATCH).fetch_all(&self.0).await.map_err(broken)
    }

    /// Writes that the broker took tasks over.
    pub(crate) async fn sent(&self, ids: &[Uuid]) -> Result<(), Failure> {
        self.change(
            ids,
            "with changed as (
                 update tasks set released = true, sequence = sequence + 1, updated_at = now()
                 where id = any($1) and state = 'queued' returning *
             ), written as (
                 insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state)
                 select id, tenant_id, sequence, 'released', now(), 0, state from changed
             )
             update outbox set due_at = clock_timestamp() + interval '60 s'
             where task_id in (select id from changed)",
        )
        .await
    }

    /// Begins attempts.
    pub(crate) async fn claim(&self, ids: &[Uuid]) -> Result<(), Failure> {
        self.change(
            ids,
            "with changed as (
                 update tasks set state = 'running', attempt = 1, worker = 'bench',
                                  sequence = sequence + 1, updated_at = now()
                 where id = any($1) and state = 'queued' returning *
             ), written as (
                 insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state)
                 select id, tenant_id, sequence, 'started', now(), 1, state from changed
             ), leased as (
                 insert into leases (task_id, tenant_id, attempt, worker, expires_at, deadline)
                 select id, tenant_id, 1, 'bench', now() + interval '15 s', now() + interval '60 s'
                 from changed
             )
             delete from outbox where task_id in (select id from changed)",
        )
        .await
    }

    /// Ends attempts: inbox, task, event and lease.
    pub(crate) async fn finish(&self, ids: &[Uuid]) -> Result<(), Failure> {
        self.change(
            ids,
            "with received as (
                 insert into inbox (consumer, message_id)
                 select 'bench', id::text from unnest($1) as u (id)
             ), changed as (
                 update tasks set state = 'succeeded', worker = null, sequence = sequence + 1,
                                  updated_at = now(), finished_at = now()
                 where id = any($1) and state = 'running' returning *
             ), written as (
                 insert into task_events (task_id, tenant_id, sequence, kind, at, attempt, state,
                                          payload)
                 select id, tenant_id, sequence, 'succeeded', now(), 1, state, '{}'::bytea from changed
             )
             delete from leases where task_id in (select id from changed)",
        )
        .await
    }

    /// Locks the tasks in their order, then changes them.
    async fn change(&self, ids: &[Uuid], sql: &'static str) -> Result<(), Failure> {
        let mut tx = self.0.begin().await.map_err(broken)?;
        sqlx::query("select id from tasks where id = any($1) order by id for update")
            .bind(ids)
            .execute(&mut *tx)
            .await
            .map_err(broken)?;
        let changed = sqlx::query(sql).bind(ids).execute(&mut *tx).await;
        changed.map_err(broken)?;
        tx.commit().await.map_err(broken)
    }
}

/// Enters a type of tasks that no worker takes in the platform's own tables.
pub(crate) async fn enter_type(pool: &PgPool, task_type: &str) -> Result<(), Failure> {
    sqlx::query(
        "insert into tasks.task_types (name, effect_mode, max_attempts, attempt_timeout_ms)
         values ($1, 'idempotent', 3, 60000) on conflict do nothing",
    )
    .bind(task_type)
    .execute(pool)
    .await
    .map(drop)
    .map_err(broken)
}

/// Counts the tasks of a type that have succeeded, in the platform's own tables.
pub(crate) async fn succeeded(pool: &PgPool, task_type: &str) -> Result<i64, Failure> {
    sqlx::query_scalar("select count(*) from tasks.tasks where type = $1 and state = 'succeeded'")
        .bind(task_type)
        .fetch_one(pool)
        .await
        .map_err(broken)
}

/// Opens one connection for a judge.
pub(crate) async fn judge(url: &str) -> Result<PgPool, Failure> {
    let pool = PgPoolOptions::new().max_connections(1);
    pool.connect(url).await.map_err(broken)
}

pub(super) fn broken(error: impl Error) -> Failure {
    Failure::wrong(format!("the limit broke: {error}"))
}
