//! A Redis server as a child process.

mod launch;

use std::{
    env,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use self::launch::Prepared;
use crate::{
    child::{Child, on_path},
    start::{self, LaunchError, Readiness, TAKEN_PORT},
};

/// Name of the server's program.
const PROGRAM: &str = "redis-server";
/// Longest time to wait for the server to be ready: reading its data back is part of it.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest time a server may take to stop cleanly.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How to run a Redis.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of its data; made when it is not there.
    pub data: PathBuf,
    /// Port on 127.0.0.1; a free one when absent.
    pub port: Option<u16>,
    /// What clients have to say; without one every local connection is trusted, which is for
    /// throw-away tests only.
    pub password: Option<String>,
    /// Whether writes go to an append-only file, so that data outlives the process.
    pub append_only: bool,
    /// How much it may hold, and what happens then.
    pub memory: Memory,
}

/// How much a Redis may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes; 0 is no limit.
    pub limit: u64,
    /// What a full server does with the next write.
    pub policy: Policy,
}

/// What a full Redis does with the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Refuses it.
    NoEviction,
    /// Drops the key that was not used for the longest time.
    AllKeysLru,
    /// Drops the key that is used least often.
    AllKeysLfu,
    /// Drops the key that would expire first.
    VolatileTtl,
}

impl Policy {
    /// Returns the value of `maxmemory-policy`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoEviction => "noeviction",
            Self::AllKeysLru => "allkeys-lru",
            Self::AllKeysLfu => "allkeys-lfu",
            Self::VolatileTtl => "volatile-ttl",
        }
    }
}

impl Options {
    /// Makes options of a cache: 256 MiB, least recently used keys go first, nothing on disk.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            port: None,
            password: None,
            append_only: false,
            memory: Memory {
                limit: 256 << 20,
                policy: Policy::AllKeysLru,
            },
        }
    }
}

/// Why a Redis does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No program.
    #[error(
        "Redis's program (redis-server) was not found in REDIS_BIN or on the PATH.\n  \
         Debian, Ubuntu:  sudo apt-get install redis-server\n  \
         Fedora:          sudo dnf install redis\n  \
         macOS:           brew install redis\n  \
         elsewhere:       set REDIS_BIN to the folder that holds it"
    )]
    NotFound,
    /// It was found, and does not run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// A running Redis; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct Redis {
    data: PathBuf,
    password: Option<String>,
    port: u16,
    child: Child,
}

impl Redis {
    /// Starts the server on its data, and returns when it answers `PING`.
    ///
    /// # Errors
    /// Names the missing program with its install command, or carries the end of the server's log.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let program = program()?;
        let (account, data) = start::place(&options.data)?;
        let prepared = Prepared {
            program,
            account,
            data,
            options,
        };
        let passes = |error: &StartError| matches!(error, StartError::Launch(error) if error.said(&TAKEN_PORT));
        start::again(passes, || async {
            prepared.clear_orphan();
            prepared.launch().await
        })
        .await
    }

    /// Returns the port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the folder that really holds the data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Returns the URL of database 0, with the password.
    pub fn url(&self) -> String {
        let password = self.password.as_deref();
        let login = password.map(|p| format!(":{p}@")).unwrap_or_default();
        format!("redis://{login}127.0.0.1:{}/0", self.port)
    }

    /// Returns when the server has ended, whoever ended it.
    pub async fn ended(&self) {
        self.child.ended().await;
    }

    /// Stops the server cleanly: what it has to keep is on the disk.
    pub async fn stop(self) {
        self.child
            .stop([Signal::TERM, Signal::KILL], STOP_LIMIT)
            .await;
    }

    /// Kills the server as a crash would, and returns when it is gone.
    pub async fn kill(self) {
        self.child
            .stop([Signal::KILL, Signal::KILL], STOP_LIMIT)
            .await;
    }

    /// Waits until the server answers.
    async fn ready(&self, log: &Path) -> Result<(), StartError> {
        let readiness = Readiness {
            program: PROGRAM,
            child: &self.child,
            limit: START_LIMIT,
            pause: Duration::from_millis(10),
            output: log,
            log,
        };
        let password = self.password.as_deref();
        readiness
            .wait(|| async move { Ok(launch::answers(self.port, password, self.pid()).await) })
            .await
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
    }
}

/// Finds the server in `REDIS_BIN` or on the `PATH`.
fn program() -> Result<PathBuf, StartError> {
    let named = env::var_os("REDIS_BIN").map(|folder| Path::new(&folder).join(PROGRAM));
    let named = named.filter(|program| program.is_file());
    named
        .or_else(|| on_path(PROGRAM))
        // Servers are started from `/`.
        .and_then(|program| std::path::absolute(program).ok())
        .ok_or(StartError::NotFound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let text = StartError::NotFound.to_string();
        assert!(text.contains("apt-get install redis-server"), "{text}");
    }
}
