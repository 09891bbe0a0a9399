//! What the starts of all servers have in common.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    account::Account,
    child::{self, Child, tail},
    moved,
};

/// Starts that may fail for what has passed a moment later.
const TRIES: u32 = 5;
/// Pause before the next one.
const PAUSE: Duration = Duration::from_millis(400);
/// What servers print when somebody took a free port before them.
pub(crate) const TAKEN_PORT: [&str; 4] = [
    "Address already in use",
    "address already in use",
    "eaddrinuse",
    "Failed listening on port",
];

/// Why a program that was found does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A file or folder could not be prepared.
    #[error("can not prepare {path}")]
    Prepare {
        /// What was being prepared.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program could not be run.
    #[error("can not run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program itself said no.
    #[error("{program} failed: {output}")]
    Failed {
        /// The program.
        program: &'static str,
        /// The end of what it printed.
        output: String,
    },
    /// The server neither got ready nor ended.
    #[error("{program} was not ready after {} s; its log is {log}", limit.as_secs())]
    Slow {
        /// The program.
        program: &'static str,
        /// How long it had.
        limit: Duration,
        /// The server's log.
        log: PathBuf,
    },
}

impl LaunchError {
    /// Says of an error what was being prepared.
    pub(crate) fn preparing(path: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Prepare {
            path: path.clone(),
            source,
        }
    }

    /// Says of an error what was to be run.
    pub(crate) fn running(program: &Path) -> impl Fn(io::Error) -> Self + use<> {
        let program = program.to_owned();
        move |source| Self::Run {
            program: program.clone(),
            source,
        }
    }

    /// Makes the error of a program that said no.
    pub(crate) fn failed(program: &'static str, output: &[u8]) -> Self {
        Self::Failed {
            program,
            output: tail(output),
        }
    }

    /// Says whether the program ended with one of these texts.
    pub(crate) fn said(&self, texts: &[&str]) -> bool {
        matches!(self, Self::Failed { output, .. } if texts.iter().any(|text| output.contains(text)))
    }
}

/// Returns the account of a server and where its data wanted at `data` can really live.
pub(crate) fn place(data: &Path) -> Result<(Option<Account>, PathBuf), LaunchError> {
    let Some(account) = Account::for_servers() else {
        return Ok((None, data.to_owned()));
    };
    let place = moved::reachable(data, account).map_err(LaunchError::preparing(data))?;
    if place != data {
        tracing::warn!(wanted = %data.display(), used = %place.display(), "the server's account can not reach the wanted data folder");
    }
    Ok((Some(account), place))
}

/// Launches, and again while it fails for what may have passed a moment later.
pub(crate) async fn again<T, E, F: Future<Output = Result<T, E>>>(
    passes: impl Fn(&E) -> bool,
    launch: impl Fn() -> F,
) -> Result<T, E> {
    for _ in 1..TRIES {
        match launch().await {
            Err(error) if passes(&error) => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
    launch().await
}

/// Runs a server's command, on a thread of this name, with all that it prints in a new `log`.
pub(crate) async fn spawn(
    mut command: Command,
    program: &Path,
    name: &str,
    log: &Path,
) -> Result<Child, LaunchError> {
    let preparing = LaunchError::preparing(log);
    let output = fs::File::create(log).map_err(&preparing)?;
    let twice = output.try_clone().map_err(&preparing)?;
    command.stdout(output).stderr(twice);
    let spawned = child::spawn(command, name).await;
    spawned.map_err(LaunchError::running(program))
}

/// How to wait for a server that has been launched.
pub(crate) struct Readiness<'a> {
    pub(crate) program: &'static str,
    pub(crate) child: &'a Child,
    /// Longest time to wait.
    pub(crate) limit: Duration,
    /// Pause between two looks.
    pub(crate) pause: Duration,
    /// What the program prints.
    pub(crate) output: &'a Path,
    /// Where to look when it is slow.
    pub(crate) log: &'a Path,
}

impl Readiness<'_> {
    /// Waits until the server says that it is ready.
    pub(crate) async fn wait<E: From<LaunchError>, F: Future<Output = Result<bool, E>>>(
        self,
        is_ready: impl Fn() -> F,
    ) -> Result<(), E> {
        let give_up = Instant::now() + self.limit;
        while Instant::now() < give_up {
            if self.child.has_ended() {
                let output = fs::read(self.output).unwrap_or_default();
                return Err(LaunchError::failed(self.program, &output).into());
            }
            if is_ready().await? {
                return Ok(());
            }
            tokio::time::sleep(self.pause).await;
        }
        let slow = LaunchError::Slow {
            program: self.program,
            limit: self.limit,
            log: self.log.to_owned(),
        };
        Err(slow.into())
    }
}
