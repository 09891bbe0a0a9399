//! `sutazai migrate` on a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path, process::Output};

use sqlx::{Connection, PgConnection};
use sutazai_servers::{
    postgres::{Options, Postgres},
    scratch,
};
use tokio::process::Command;

/// Runs the program with the passwords of a folder.
async fn migrate(port: u16, secrets: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sutazai"));
    command
        .env_clear()
        .args(["migrate", "--port", &port.to_string(), "--secrets"])
        .arg(secrets)
        .args(more);
    command.output().await.unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// Returns how many migrations ran, schema by schema.
fn ran(output: &Output) -> Vec<(String, u64)> {
    assert!(output.status.success(), "{}", text(output));
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "schema")
        .map(|event| {
            let schema = event["schema"].as_str().unwrap().to_owned();
            (schema, event["migrations"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn db_08_a_second_run_changes_nothing_and_a_wrong_password_is_named() {
    let folder = scratch::folder().unwrap();
    sutazai_cli::environment::init(&folder).unwrap();
    let secrets = folder.join("secrets");
    let password = |name: &str| fs::read_to_string(secrets.join(name)).unwrap();
    let options = Options {
        data: folder.join("postgres"),
        port: None,
        password: Some(password("postgres-superuser")),
        durable: false,
    };
    let server = Postgres::start(options).await.unwrap();
    let port = server.port();

    let first = ran(&migrate(port, &secrets, &["--json"]).await);
    let schemas: Vec<&str> = first.iter().map(|(schema, _)| schema.as_str()).collect();
    assert_eq!(schemas, ["identity", "backend", "tasks", "agents"]);
    assert!(first.iter().all(|(_, ran)| *ran > 0), "{first:?}");

    let second = ran(&migrate(port, &secrets, &["--json"]).await);
    assert!(second.iter().all(|(_, ran)| *ran == 0), "{second:?}");
    let shown = text(&migrate(port, &secrets, &[]).await);
    assert_eq!(shown.matches("unchanged").count(), 4, "{shown}");

    // What a service is given opens its own schema.
    let login = password("postgres-task_coordinator");
    let url = format!("postgres://task_coordinator:{login}@127.0.0.1:{port}/sutazai");
    let mut session = PgConnection::connect(&url).await.unwrap();
    let tasks: i64 = sqlx::query_scalar("select count(*) from tasks.tasks")
        .fetch_one(&mut session)
        .await
        .unwrap();
    assert_eq!(tasks, 0);

    let wrong = "wrong-5f1c2a7be0944d6f8b13c9e2a7d4401f";
    fs::write(secrets.join("postgres-superuser"), wrong).unwrap();
    let refused = migrate(port, &secrets, &[]).await;
    let said = text(&refused);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(
        said.contains("password authentication failed") && said.contains(&port.to_string()),
        "{said}"
    );
    assert!(!said.contains(wrong), "a password is shown: {said}");

    fs::remove_file(secrets.join("postgres-backend")).unwrap();
    let missing = migrate(port, &secrets, &[]).await;
    assert_eq!(missing.status.code(), Some(1));
    assert!(text(&missing).contains("postgres-backend"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    sutazai_cli::environment::init(folder.path()).unwrap();
    let closed = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let output = migrate(port, &folder.path().join("secrets"), &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output);
    assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
}
