//! Life and death of the Postgres child.

#![expect(clippy::expect_used, reason = "the setup of a test may panic")]

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use sqlx::{Connection, PgConnection};
use sutazai_servers::{
    postgres::{Options, Postgres},
    scratch,
};

fn options(folder: &Path) -> Options {
    Options {
        data: folder.join("postgres"),
        port: None,
        password: Some("a-generated-password".to_owned()),
        durable: true,
    }
}

/// A folder that the server's account can reach.
fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

async fn execute(server: &Postgres, sql: &'static str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(&server.superuser_url("postgres")).await?;
    sqlx::query(sql).execute(&mut connection).await?;
    connection.close().await
}

fn kill(pid: u32, signal: &str) {
    assert!(
        Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .expect("kill")
            .success()
    );
}

#[tokio::test]
async fn data_is_there_again_after_a_stop_and_after_kill_9() {
    let folder = folder();
    let server = Postgres::start(options(folder.path())).await.unwrap();
    execute(&server, "create table kept (id int)")
        .await
        .unwrap();
    server.stop().await;

    let server = Postgres::start(options(folder.path())).await.unwrap();
    execute(&server, "insert into kept values (1)")
        .await
        .unwrap();
    kill(server.pid(), "-9");
    server.ended().await;

    let server = Postgres::start(options(folder.path())).await.unwrap();
    execute(&server, "insert into kept values (2)")
        .await
        .unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_still_runs_on_the_folder_is_replaced() {
    let folder = folder();
    let left = Postgres::start(options(folder.path())).await.unwrap();
    let server = Postgres::start(options(folder.path())).await.unwrap();
    assert_ne!(left.pid(), server.pid());
    left.ended().await;
    execute(&server, "select 1").await.unwrap();
    server.stop().await;
}

#[tokio::test]
async fn a_pid_file_that_names_a_stranger_is_no_obstacle() {
    let folder = folder();
    Postgres::start(options(folder.path()))
        .await
        .unwrap()
        .stop()
        .await;
    let stranger = format!("{}\n{}\n", std::process::id(), folder.path().display());
    std::fs::write(folder.path().join("postgres/postmaster.pid"), stranger).unwrap();
    Postgres::start(options(folder.path()))
        .await
        .unwrap()
        .stop()
        .await;
}

#[tokio::test]
async fn a_password_is_needed_where_one_was_set() {
    let folder = folder();
    let server = Postgres::start(options(folder.path())).await.unwrap();
    let url = format!(
        "postgres://postgres:wrong@127.0.0.1:{}/postgres",
        server.port()
    );
    assert!(PgConnection::connect(&url).await.is_err());
    server.stop().await;
}

#[tokio::test]
async fn a_dropped_server_ends() {
    let folder = folder();
    let server = Postgres::start(options(folder.path())).await.unwrap();
    let process = format!("/proc/{}", server.pid());
    drop(server);
    let give_up = Instant::now() + Duration::from_secs(20);
    while Path::new(&process).exists() {
        assert!(Instant::now() < give_up, "the server outlived its handle");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn scratch_databases_are_apart() {
    let (one, two) = (
        scratch::database().await.unwrap(),
        scratch::database().await.unwrap(),
    );
    assert_ne!(one, two);
    let mut connection = PgConnection::connect(&one).await.unwrap();
    sqlx::query("create table apart (id int)")
        .execute(&mut connection)
        .await
        .unwrap();
    let mut connection = PgConnection::connect(&two).await.unwrap();
    assert!(
        sqlx::query("select * from apart")
            .execute(&mut connection)
            .await
            .is_err()
    );
}
