//! Database and roles on a real server.

#![expect(clippy::unwrap_used, reason = "the setup of a test may panic")]

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    postgres::PgConnectOptions,
};
use sutazai_persistence::{
    migrate::migrate,
    provision::{Login, provision},
};

fn login(role: &'static str, password: &str) -> Login {
    Login {
        role,
        password: SecretString::from(password),
    }
}

async fn superuser() -> SecretString {
    SecretString::from(sutazai_servers::scratch::database().await.unwrap())
}

fn url_of(superuser: &SecretString, login: &Login, database: &str) -> SecretString {
    let options: PgConnectOptions = superuser.expose_secret().parse().unwrap();
    let options = options
        .username(login.role)
        .password(login.password.expose_secret())
        .database(database);
    SecretString::from(options.to_url_lossy().to_string())
}

async fn session(url: &SecretString) -> PgConnection {
    PgConnection::connect(url.expose_secret()).await.unwrap()
}

/// Returns the SQLSTATE with which the server refuses.
async fn refusal(connection: &mut PgConnection, sql: &'static str) -> Option<String> {
    let error = sqlx::query(sql).execute(connection).await.unwrap_err();
    let server = error.into_database_error().unwrap();
    server.code().map(std::borrow::Cow::into_owned)
}

/// A schema with one table that only `role` may use.
fn owned_by(role: &str) -> Migrator {
    let sql = format!(
        "create table thing (id bigint primary key); insert into thing values (1); \
         do $$ begin \
           execute format('grant usage on schema %I to {role}', current_schema()); \
         end $$; \
         grant select, insert, update, delete on all tables in schema {role} to {role};"
    );
    let sql = sqlx::AssertSqlSafe(sql).into_sql_str();
    let kind = MigrationType::Simple;
    Migrator::with_migrations(vec![Migration::new(1, "thing".into(), kind, sql, false)])
}

const INSUFFICIENT_PRIVILEGE: &str = "42501";

#[tokio::test]
async fn a_login_reads_its_own_schema_and_no_other() {
    let superuser = superuser().await;
    let owner = login("test_owner", "o");
    let logins = [login("test_one", "1"), login("test_two", "2")];
    provision(&superuser, "provisioned", &owner, &logins)
        .await
        .unwrap();
    let owner_url = url_of(&superuser, &owner, "provisioned");
    for login in &logins {
        migrate(&owner_url, login.role, &owned_by(login.role))
            .await
            .unwrap();
    }

    let mut one = session(&url_of(&superuser, &logins[0], "provisioned")).await;
    let own: i64 = sqlx::query_scalar("select count(*) from test_one.thing")
        .fetch_one(&mut one)
        .await
        .unwrap();
    assert_eq!(own, 1);
    for forbidden in [
        "select * from test_two.thing",
        "insert into test_two.thing values (2)",
        "create table test_one.other (id int)",
        "create table public.other (id int)",
        "create schema other",
        "create temporary table other (id int)",
        "alter role test_two password 'x'",
        "set role test_owner",
    ] {
        let state = refusal(&mut one, forbidden).await;
        // An unusable schema in the path reads as if it did not exist.
        assert_eq!(
            state.as_deref(),
            Some(INSUFFICIENT_PRIVILEGE),
            "{forbidden}"
        );
    }
}

#[tokio::test]
async fn provisioning_again_changes_passwords_only() {
    let superuser = superuser().await;
    let owner = login("again_owner", "o");
    let before = [login("again_one", "it's \\ \"quoted\" % $$")];
    provision(&superuser, "again", &owner, &before)
        .await
        .unwrap();
    let owner_url = url_of(&superuser, &owner, "again");
    migrate(&owner_url, "again_one", &owned_by("again_one"))
        .await
        .unwrap();

    let mut admin = session(&superuser).await;
    let stored = "select rolpassword from pg_authid where rolname = 'again_one'";
    let first: String = sqlx::query_scalar(stored)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert!(first.starts_with("SCRAM-SHA-256$"), "never in plain text");
    let after = [login("again_one", "another")];
    provision(&superuser, "again", &owner, &after)
        .await
        .unwrap();
    let second: String = sqlx::query_scalar(stored)
        .fetch_one(&mut admin)
        .await
        .unwrap();
    assert_ne!(first, second);

    let mut one = session(&url_of(&superuser, &after[0], "again")).await;
    let rows: i64 = sqlx::query_scalar("select count(*) from again_one.thing")
        .fetch_one(&mut one)
        .await
        .unwrap();
    assert_eq!(rows, 1, "data and grants stay");
}

#[tokio::test]
async fn foreign_roles_can_not_connect() {
    let superuser = superuser().await;
    provision(&superuser, "closed", &login("closed_owner", "o"), &[])
        .await
        .unwrap();
    let mut admin = session(&superuser).await;
    sqlx::query("create role closed_stranger login")
        .execute(&mut admin)
        .await
        .unwrap();
    let ask = "select has_database_privilege('closed_stranger', 'closed', 'connect')";
    let may: bool = sqlx::query_scalar(ask).fetch_one(&mut admin).await.unwrap();
    assert!(!may);
}

#[tokio::test]
async fn four_processes_provision_at_once() {
    let superuser = superuser().await;
    let runs: Vec<_> = (0..4)
        .map(|_| {
            let superuser = superuser.clone();
            tokio::spawn(async move {
                let owner = login("race_owner", "o");
                let logins = [login("race_one", "1")];
                provision(&superuser, "race", &owner, &logins).await
            })
        })
        .collect();
    for run in runs {
        run.await.unwrap().unwrap();
    }
}
