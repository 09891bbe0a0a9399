//! Which core does what: the server on the first, client and upstream on the last.

use std::{hint, process::Command, thread};

use super::{Program, Running, Stage};
use crate::failure::Failure;

/// Open files that this process and its children may have: 2,048 streams are three times as many.
const FILES: &str = "--nofile=16384";

/// Where a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Core {
    /// Alone on the first core: what is measured.
    Server,
    /// On the last one, where this process is.
    Client,
    /// On all.
    All,
}

impl Core {
    /// Returns the words before a command that move it there; none where there is one core only.
    pub(super) fn prefix(self) -> Vec<String> {
        let list = self.list(count());
        list.map(|list| vec!["taskset".to_owned(), "-c".to_owned(), list])
            .unwrap_or_default()
    }

    fn list(self, cores: usize) -> Option<String> {
        let last = cores.checked_sub(1).filter(|last| *last > 0)?;
        Some(match self {
            Self::Server => "0".to_owned(),
            Self::Client => last.to_string(),
            Self::All => format!("0-{last}"),
        })
    }
}

/// Counts the machine's cores; not those that this process was moved to.
pub fn count() -> usize {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let cores = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "));
    cores.count().max(1)
}

/// Moves this process, with all its threads, to the client's core, and lets it open enough files.
pub(super) fn take_client() -> Result<(), Failure> {
    let pid = std::process::id().to_string();
    run("prlimit", &[FILES, "--pid", &pid])?;
    match Core::Client.list(count()) {
        Some(core) => run("taskset", &["-acp", &core, &pid]),
        None => Ok(()),
    }
}

/// Both programs are part of util-linux, and spare us unsafe code.
fn run(program: &'static str, arguments: &[&str]) -> Result<(), Failure> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(Failure::doing(format!("run {program}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(Failure::wrong(format!("{program}: {said}")))
}

/// Programs that keep every core awake at the lowest priority there is.
#[derive(Debug)]
pub struct Awake(Vec<Running>);

impl Awake {
    /// Starts one on each core.
    ///
    /// # Errors
    /// It can not be run.
    pub async fn keep(stage: &Stage) -> Result<Self, Failure> {
        let mut spinners = Vec::new();
        for core in [Core::Server, Core::Client] {
            let spin: Program = stage.part("spin", []);
            let idle = spin.under("chrt", ["--idle".to_owned(), "0".to_owned()]);
            spinners.push(stage.start(&idle, core).await?);
        }
        Ok(Self(spinners))
    }

    /// Stops them.
    pub async fn stop(self) {
        for spinner in self.0 {
            spinner.stop().await;
        }
    }
}

/// Keeps a core from sleeping, for ever: waking one up costs more than what is measured.
pub(crate) fn spin() -> ! {
    loop {
        for _ in 0..1000 {
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_client_never_share_a_core_where_there_are_two() {
        assert_eq!(Core::Server.list(1), None);
        assert_eq!(Core::Server.list(2).as_deref(), Some("0"));
        assert_eq!(Core::Client.list(2).as_deref(), Some("1"));
        assert_eq!(Core::All.list(8).as_deref(), Some("0-7"));
        assert!(count() >= 1);
    }
}
