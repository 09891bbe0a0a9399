//! A program of the platform itself as a child process: what `sutazai up` runs the services with.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use crate::child::{self, Child};

/// Longest time after the second signal, which drops open work.
const DROPPED: Duration = Duration::from_secs(5);

/// How to run a program.
#[derive(Clone, Debug)]
pub struct Options {
    /// Name of the process, for its thread and for messages.
    pub name: String,
    /// The program.
    pub program: PathBuf,
    /// Its arguments; secrets never stand there.
    pub arguments: Vec<String>,
    /// Variables above those that we have ourselves.
    pub environment: Vec<(&'static str, String)>,
    /// File that its output is added to.
    pub log: PathBuf,
    /// Longest time from SIGTERM to the end.
    pub grace: Duration,
}

/// A running program; it is told to stop when this is dropped or when we die.
#[derive(Debug)]
pub struct Process {
    child: Child,
    grace: Duration,
}

impl Process {
    /// Starts the program.
    ///
    /// # Errors
    /// Fails when the program can not be run or its log not be opened.
    pub async fn start(options: &Options) -> io::Result<Self> {
        let log = open(&options.log)?;
        let mut command = child::bound_to_us(&options.program, "TERM", None);
        command
            .args(&options.arguments)
            .envs(
                options
                    .environment
                    .iter()
                    .map(|(name, value)| (name, value)),
            )
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = child::spawn(command, &options.name).await?;
        Ok(Self {
            child,
            grace: options.grace,
        })
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Says whether the program has ended.
    pub fn has_ended(&self) -> bool {
        self.child.has_ended()
    }

    /// Returns when the program has ended, whoever ended it.
    pub async fn ended(&self) {
        self.child.ended().await;
    }

    /// Asks the program to stop, and drops its open work when that takes longer than its grace.
    pub async fn stop(self) {
        self.child
            .stop([Signal::TERM, Signal::TERM], self.grace)
            .await;
        self.child.stop([Signal::KILL, Signal::KILL], DROPPED).await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
    }
}

/// Opens a log for appending: who cuts it meanwhile disturbs nobody.
fn open(log: &Path) -> io::Result<fs::File> {
    fs::OpenOptions::new().create(true).append(true).open(log)
}
