//! Migrations against a real server.

#![expect(clippy::unwrap_used, reason = "the setup of a test may panic")]

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use sutazai_persistence::{
    Database,
    migrate::{MigrateError, migrate, verify},
    postgres::Settings,
};
use sutazai_resilience::Breakers;

const FIRST: &str = "create table thing (id bigint primary key)";
const SECOND: &str = "alter table thing add column name text";

fn migrator(statements: &[&'static str]) -> Migrator {
    let migrations = (1..).zip(statements).map(|(version, sql)| {
        let kind = MigrationType::Simple;
        Migration::new(version, "step".into(), kind, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

async fn database() -> SecretString {
    SecretString::from(sutazai_servers::scratch::database().await.unwrap())
}

async fn open(url: &SecretString, schema: &'static str) -> Database {
    let settings = Settings {
        pool_min: 0,
        pool_max: 1,
        ..Settings::new(url.clone(), schema, "migrate-test")
    };
    Database::connect(&settings, &Breakers::new())
        .await
        .unwrap()
}

async fn columns(url: &SecretString) -> Vec<String> {
    let mut connection = PgConnection::connect(url.expose_secret()).await.unwrap();
    let ask = "select column_name::text from information_schema.columns \
               where table_schema = 'tasks' and table_name = 'thing' order by 1";
    sqlx::query_scalar(ask)
        .fetch_all(&mut connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn db_08_an_empty_and_an_earlier_database_are_brought_up() {
    let url = database().await;
    migrate(&url, "tasks", &migrator(&[FIRST])).await.unwrap();
    assert_eq!(columns(&url).await, ["id"]);
    let both = migrator(&[FIRST, SECOND]);
    migrate(&url, "tasks", &both).await.unwrap();
    migrate(&url, "tasks", &both).await.unwrap();
    assert_eq!(columns(&url).await, ["id", "name"]);
    verify(&open(&url, "tasks").await, &both).await.unwrap();
}

#[tokio::test]
async fn db_08_data_of_a_later_version_is_refused_and_left_alone() {
    let url = database().await;
    migrate(&url, "tasks", &migrator(&[FIRST, SECOND]))
        .await
        .unwrap();
    let earlier = migrator(&[FIRST]);
    let refused = [
        migrate(&url, "tasks", &earlier).await.unwrap_err(),
        verify(&open(&url, "tasks").await, &earlier)
            .await
            .unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(
                error,
                MigrateError::Newer {
                    found: 2,
                    known: 1,
                    ..
                }
            ),
            "{error:?}"
        );
        assert!(
            error
                .to_string()
                .contains("schema tasks holds data of version 2"),
            "{error}"
        );
    }
    assert_eq!(columns(&url).await, ["id", "name"]);
}

#[tokio::test]
async fn db_08_a_migration_that_was_changed_is_refused() {
    let url = database().await;
    migrate(&url, "tasks", &migrator(&[FIRST])).await.unwrap();
    let other = migrator(&["create table thing (id int primary key)"]);
    let refused = [
        migrate(&url, "tasks", &other).await.unwrap_err(),
        verify(&open(&url, "tasks").await, &other)
            .await
            .unwrap_err(),
    ];
    for error in refused {
        assert!(
            matches!(error, MigrateError::Changed { version: 1, .. }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn db_08_a_service_sees_what_has_not_run() {
    let url = database().await;
    let db = open(&url, "tasks").await;
    let both = migrator(&[FIRST, SECOND]);
    let error = verify(&db, &both).await.unwrap_err();
    assert!(
        matches!(error, MigrateError::Pending { version: 1, .. }),
        "{error:?}"
    );
    migrate(&url, "tasks", &migrator(&[FIRST])).await.unwrap();
    let error = verify(&db, &both).await.unwrap_err();
    assert!(
        matches!(error, MigrateError::Pending { version: 2, .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn db_08_eight_processes_migrate_an_empty_database_at_once() {
    let url = database().await;
    let both = Arc::new(migrator(&[FIRST, SECOND]));
    // Once is not enough to meet in the short moment when two make the same schema.
    for schema in [
        "tasks", "agents", "backend", "identity", "one", "two", "three", "four",
    ] {
        let runs: Vec<_> = (0..8)
            .map(|_| {
                let (url, both) = (url.clone(), both.clone());
                tokio::spawn(async move { migrate(&url, schema, &both).await })
            })
            .collect();
        for run in runs {
            run.await.unwrap().unwrap();
        }
        verify(&open(&url, schema).await, &both).await.unwrap();
    }
}

#[tokio::test]
async fn db_08_a_failed_migration_is_undone_and_holds_up_nobody() {
    let url = database().await;
    let broken = migrator(&[FIRST, "create table other (id int); select 1 / 0"]);
    let error = migrate(&url, "tasks", &broken).await.unwrap_err();
    assert!(matches!(error, MigrateError::Failed { .. }), "{error:?}");
    let first = migrator(&[FIRST]);
    let next = migrate(&url, "agents", &first);
    tokio::time::timeout(Duration::from_secs(30), next)
        .await
        .unwrap()
        .unwrap();
    verify(&open(&url, "tasks").await, &first).await.unwrap();
}
