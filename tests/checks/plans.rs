//! The plans of the services' statements: none reads all of a table that grows with the work.
//!
//! A connection keeps the plan of each statement, and on a young platform plans are made while the tables
//! are empty. One that was good for an empty table is used until the server's next statistics, at a cost that
//! grows with each row. Here every committed statement is planned over empty tables, for whatever it is
//! called with, and its plan is read.

use std::{error::Error, fs};

use serde_json::Value;
use sqlx::{AssertSqlSafe, PgConnection, Row, migrate::Migrator};
use sutazai_persistence::{Database, migrate, postgres::Settings};
use sutazai_resilience::Breakers;

use crate::assert_none;

type Failure = Box<dyn Error>;

/// The crates with statements, their schemas and how those are made.
const STORES: [(&str, &str, &Migrator); 4] = [
    (
        "agent-orchestrator",
        agent_orchestrator::SCHEMA,
        &agent_orchestrator::MIGRATOR,
    ),
    ("auth", "identity", &sutazai_auth::store::MIGRATOR),
    ("backend", backend::SCHEMA, &backend::MIGRATOR),
    (
        "task-coordinator",
        task_coordinator::SCHEMA,
        &task_coordinator::MIGRATOR,
    ),
];
/// Tables with a row for each worker, kind of task or agent, and not for each piece of work.
const SMALL: [&str; 3] = ["agents", "credits", "task_types"];
/// Begins the one statement that is to change all that a broker held when its process ended.
const WHOLE: &str =
    "update outbox set phase = 'ready', message_id = null, due_at = clock_timestamp()";
/// A few tasks: fewer than a page holds.
const FEW: &str = "insert into tasks (id, tenant_id, subject, roles, scopes, trace, type, priority,
                                      max_attempts, effect_mode, attempt_timeout_ms, state, attempt,
                                      released, cancel_requested, created_at, updated_at, sequence)
                   select gen_random_uuid(), 'default', 'plans', '{}', '{}', '{}', 'llm.generate', 5, 3,
                          'idempotent', 60000, 'queued', 0, false, false, now(), now(), 1
                   from generate_series(1, 20)";

#[tokio::test]
async fn db_no_statement_reads_a_growing_table_as_a_whole() -> Result<(), Failure> {
    let mut faults = Vec::new();
    for (store, schema, migrator) in STORES {
        let statements = statements(store)?;
        assert!(!statements.is_empty(), "{store} has no statement");
        let db = database(schema, migrator).await?;
        let mut connection = db.pool().acquire().await?;
        for statement in statements {
            let found = whole_reads(&mut connection, &statement).await?;
            let named = |read| format!("{store}: {read}: {statement}");
            faults.extend(found.into_iter().map(named));
        }
    }
    assert_none(&faults);
    Ok(())
}

/// Planned while the statistics tell of one page of rows, tasks are looked up in their indexes still.
#[tokio::test]
async fn db_a_table_that_was_small_is_not_read_as_a_whole_when_it_has_grown() -> Result<(), Failure>
{
    let db = database(task_coordinator::SCHEMA, &task_coordinator::MIGRATOR).await?;
    let mut connection = db.pool().acquire().await?;
    for step in [FEW, "vacuum analyze tasks"] {
        sqlx::raw_sql(step).execute(&mut *connection).await?;
    }
    let mut faults = Vec::new();
    for statement in statements("task-coordinator")? {
        let found = whole_reads(&mut connection, &statement).await?;
        let of_tasks = found.iter().filter(|read| read.contains("tasks"));
        faults.extend(of_tasks.map(|read| format!("{read}: {statement}")));
    }
    assert_none(&faults);
    Ok(())
}

#[tokio::test]
async fn planted_reads_of_whole_tables_are_found() -> Result<(), Failure> {
    let db = database(task_coordinator::SCHEMA, &task_coordinator::MIGRATOR).await?;
    let mut connection = db.pool().acquire().await?;
    for (statement, found) in [
        (
            "select data from task_events where data is null",
            "reads all of task_events",
        ),
        (
            "select data from task_events where sequence = $1",
            "reads all of task_events_pkey",
        ),
        (
            "select task_id from answers where due_at <= clock_timestamp() order by due_at limit 9",
            "reads all of answers_due",
        ),
        ("select data from task_events where task_id = $1", ""),
    ] {
        let reads = whole_reads(&mut connection, statement).await?.join("; ");
        assert_eq!(reads, found, "{statement}");
    }
    Ok(())
}

/// Returns the statements of a crate that were checked when it was compiled.
fn statements(store: &str) -> Result<Vec<String>, Failure> {
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates");
    let mut statements = Vec::new();
    for file in fs::read_dir(format!("{crates}/{store}/.sqlx"))? {
        let described: Value = serde_json::from_slice(&fs::read(file?.path())?)?;
        let statement = described["query"].as_str().unwrap_or_default();
        if !statement.starts_with(WHOLE) {
            statements.push(statement.to_owned());
        }
    }
    Ok(statements)
}

/// Opens an empty store as its service does.
async fn database(schema: &'static str, migrator: &Migrator) -> Result<Database, Failure> {
    let url = sutazai_servers::scratch::database().await?.into();
    migrate::migrate(&url, schema, migrator).await?;
    let settings = Settings::new(url, schema, "plans");
    Ok(Database::connect(&settings, &Breakers::new()).await?)
}

/// Plans a statement for all values, and says what of it reads all of a table or of an index.
async fn whole_reads(
    connection: &mut PgConnection,
    statement: &str,
) -> Result<Vec<String>, Failure> {
    let mut reads = Vec::new();
    for node in nodes(&plan(connection, statement).await?[0]["Plan"]) {
        let text = |key: &str| node[key].as_str().unwrap_or_default();
        let (table, index) = (text("Relation Name"), text("Index Name"));
        if text("Node Type") == "Seq Scan" && !SMALL.contains(&table) {
            reads.push(format!("reads all of {table}"));
        }
        if index.is_empty() {
            continue;
        }
        let (table, column) = begin(connection, index).await?;
        let mut bounded = text("Index Cond").split(|c: char| !c.is_alphanumeric() && c != '_');
        if !bounded.any(|word| word == column) && !SMALL.contains(&&*table) {
            reads.push(format!("reads all of {index}"));
        }
    }
    Ok(reads)
}

/// Returns how the server does a statement, whatever its values.
async fn plan(connection: &mut PgConnection, statement: &str) -> Result<Value, Failure> {
    let values = (1..).take_while(|number| statement.contains(&format!("${number}")));
    let nulls = values.map(|_| "null").collect::<Vec<_>>().join(", ");
    let values = if nulls.is_empty() {
        nulls
    } else {
        format!("({nulls})")
    };
    for step in [
        "set plan_cache_mode = force_generic_plan".to_owned(),
        format!("prepare planned as {statement}"),
    ] {
        let done = sqlx::raw_sql(AssertSqlSafe(step)).execute(&mut *connection);
        done.await?;
    }
    let explain = format!("explain (format json) execute planned{values}");
    let explained = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection);
    let explained = explained.await?.try_get(0)?;
    let forgotten = sqlx::raw_sql("deallocate planned").execute(connection);
    forgotten.await?;
    Ok(explained)
}

/// Returns a plan's nodes.
fn nodes(plan: &Value) -> Vec<&Value> {
    let below = plan["Plans"].as_array().into_iter().flatten();
    let mut all = vec![plan];
    all.extend(below.flat_map(nodes));
    all
}

/// Returns the table of an index, and the column that it begins with.
async fn begin(connection: &mut PgConnection, index: &str) -> Result<(String, String), Failure> {
    let found = sqlx::query_as(
        "select indrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true)
         from pg_index where indexrelid = to_regclass($1)",
    );
    Ok(found.bind(index).fetch_one(connection).await?)
}
