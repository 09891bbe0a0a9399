//! Empty databases and virtual hosts on throw-away servers, and a folder, for tests.

use std::{
    env, fs, io,
    path::PathBuf,
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use rustix::process::{Pid, test_kill_process};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};
use tokio::sync::OnceCell;

use crate::postgres::{Options, Postgres, StartError};
use crate::rabbitmq::{self, RabbitMq};
use crate::start::LaunchError;
use crate::{moved, passage};

const FOLDER: &str = "sutazai-scratch-";

/// The server of this test process. It lives as long as the process, then its parent-death signal
/// stops it, and the next run removes its folder.
static SERVER: OnceCell<Postgres> = OnceCell::const_new();
/// As [`SERVER`], for messages.
static RABBITMQ: OnceCell<RabbitMq> = OnceCell::const_new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// Makes a new empty database and returns its URL for the superuser.
///
/// `TEST_POSTGRES_URL` names a running server to use in place of a throw-away one.
///
/// # Errors
/// As [`Postgres::start`], or when the server refuses to make the database.
pub async fn database() -> Result<String, StartError> {
    let server = match env::var("TEST_POSTGRES_URL") {
        Ok(url) => url,
        Err(_) => SERVER
            .get_or_try_init(throw_away)
            .await?
            .superuser_url("postgres"),
    };
    let options: PgConnectOptions = server.parse().map_err(StartError::Database)?;
    let name = format!(
        "scratch_{}_{}",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let mut connection = options.connect().await.map_err(StartError::Database)?;
    for statement in [
        format!("drop database if exists {name} with (force)"),
        format!("create database {name}"),
    ] {
        // The name is made of digits above: nothing foreign reaches the text.
        sqlx::query(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .map_err(StartError::Database)?;
    }
    let _ = connection.close().await;
    Ok(options.database(&name).to_url_lossy().to_string())
}

/// Returns the RabbitMQ node of this test process.
///
/// # Errors
/// As [`RabbitMq::start`].
pub async fn rabbitmq() -> Result<&'static RabbitMq, rabbitmq::StartError> {
    let start = || async {
        let folder = folder().map_err(|source| LaunchError::Prepare {
            path: env::temp_dir(),
            source,
        })?;
        RabbitMq::start(rabbitmq::Options::throw_away(folder.join("rabbitmq"))).await
    };
    RABBITMQ.get_or_try_init(start).await
}

/// Makes a new empty virtual host on the node of this test process and returns its name.
///
/// # Errors
/// As [`RabbitMq::start`], or when the node refuses to make it.
pub async fn vhost() -> Result<String, rabbitmq::StartError> {
    let server = rabbitmq().await?;
    let name = format!("scratch-{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let management = server.management();
    let made = management.make_vhost(&name).await;
    made.map_err(|source| rabbitmq::StartError::Management {
        wish: "make a virtual host",
        source,
    })?;
    Ok(name)
}

/// Makes the folder of this test process, for what lives as long as the process; the next run
/// removes it.
///
/// # Errors
/// Why the folder can not be made.
pub fn folder() -> io::Result<PathBuf> {
    sweep();
    let folder = env::temp_dir().join(format!("{FOLDER}{}", process::id()));
    passage::make(&folder)?;
    Ok(folder)
}

async fn throw_away() -> Result<Postgres, StartError> {
    let folder = folder().map_err(|source| LaunchError::Prepare {
        path: env::temp_dir(),
        source,
    })?;
    let data = folder.join("postgres");
    Postgres::start(Options {
        data,
        port: None,
        password: None,
        durable: false,
    })
    .await
}

/// Removes the folders of test processes that are gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(env::temp_dir()) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(FOLDER)) else {
            continue;
        };
        let alive = pid
            .parse()
            .ok()
            .and_then(Pid::from_raw)
            .is_some_and(|pid| test_kill_process(pid).is_ok());
        if !alive {
            let _ = moved::forget(&entry.path());
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
