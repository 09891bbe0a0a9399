//! A PostgreSQL cluster as a child process.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::Signal;

pub mod binaries;

mod launch;

pub use binaries::{Binaries, NotFound};

use launch::Prepared;

use crate::{
    child::Child,
    start::{self, LaunchError, Readiness},
};

/// Longest time to wait for the server to be ready: recovery after a crash is part of it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest time a server may take to stop cleanly.
const STOP_LIMIT: Duration = Duration::from_secs(15);
/// What it prints when a killed run left something behind that passes, or somebody took its port.
const LEFTOVER: [&str; 3] = [
    "lock file",
    "shared memory",
    "could not create listen socket",
];

/// How to run a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the cluster; made by `initdb` when it is empty.
    pub data: PathBuf,
    /// Port on 127.0.0.1; a free one when absent.
    pub port: Option<u16>,
    /// Password of the superuser `postgres`; without one every local connection is trusted, which
    /// is for throw-away tests only.
    pub password: Option<String>,
    /// Whether a commit waits for the disk; off is for throw-away tests only.
    pub durable: bool,
}

/// Why a cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No binaries.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It was found, and does not run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The scratch database could not be made.
    #[error("can not make a database")]
    Database(#[source] sqlx::Error),
}

/// A running cluster; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    binaries: Binaries,
    data: PathBuf,
    password: Option<String>,
    port: u16,
    child: Child,
}

impl Postgres {
    /// Starts the cluster, making it first where there is none, and returns when it is ready.
    ///
    /// # Errors
    /// Names the missing binary with its install command, or carries the end of the server's log.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let binaries = Binaries::find()?;
        let (account, data) = start::place(&options.data)?;
        let prepared = Prepared {
            binaries,
            account,
            data,
            options,
        };
        if !prepared.data.join("PG_VERSION").exists() {
            prepared.init().await?;
        }
        let passes = |error: &StartError| matches!(error, StartError::Launch(error) if error.said(&LEFTOVER));
        start::again(passes, || async {
            prepared.orphan().clear();
            prepared.launch().await
        })
        .await
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder that really holds the cluster.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the process id of the postmaster.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Returns the URL of a database for the superuser.
    pub fn superuser_url(&self, database: &str) -> String {
        let password = self
            .password
            .as_deref()
            .map(|p| format!(":{p}"))
            .unwrap_or_default();
        format!(
            "postgres://postgres{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Writes a dump of a database, in `pg_dump`'s custom format, for `pg_restore`.
    ///
    /// # Errors
    /// Carries what `pg_dump` printed, or why the file can not be written.
    pub async fn dump(&self, database: &str, file: &Path) -> Result<(), StartError> {
        let program = self.binaries.path("pg_dump");
        let prepare = LaunchError::preparing(file);
        let target = fs::File::create(file).map_err(&prepare)?;
        target
            .set_permissions(fs::Permissions::from_mode(0o600))
            .map_err(prepare)?;
        let mut command = tokio::process::Command::new(&program);
        command.args(["--format=custom", "--host=127.0.0.1", "--username=postgres"]);
        command.args([format!("--port={}", self.port), database.to_owned()]);
        command.envs(
            self.password
                .as_ref()
                .map(|password| ("PGPASSWORD", password)),
        );
        command
            .stdin(Stdio::null())
            .stdout(target)
            .stderr(Stdio::piped());
        let run = LaunchError::running(&program);
        // Not `output()`: it would take the standard output for itself.
        let child = command.spawn().map_err(&run)?;
        let output = child.wait_with_output().await.map_err(run)?;
        if output.status.success() {
            return Ok(());
        }
        Err(LaunchError::failed("pg_dump", &output.stderr).into())
    }

    /// Returns when the server has ended, whoever ended it.
    pub async fn ended(&self) {
        self.child.ended().await;
    }

    /// Stops the server cleanly: clients are disconnected, open transactions rolled back.
    pub async fn stop(self) {
        let signals = [Signal::INT, Signal::QUIT];
        self.child.stop(signals, STOP_LIMIT).await;
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.child.signal(Signal::INT);
    }
}

impl Postgres {
    /// Waits until the server says `ready` in its own pid file.
    async fn ready(&self, log: &Path) -> Result<(), StartError> {
        let readiness = Readiness {
            program: "postgres",
            child: &self.child,
            limit: START_LIMIT,
            pause: Duration::from_millis(10),
            output: log,
            log,
        };
        readiness.wait(|| async { Ok(self.says_ready()) }).await
    }

    /// Line 1 of the pid file is the server's pid, line 8 its state.
    fn says_ready(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.data.join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines().map(str::trim);
        lines.next().and_then(|pid| pid.parse().ok()) == Some(self.pid())
            && lines.nth(6) == Some("ready")
    }
}
