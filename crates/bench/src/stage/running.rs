//! A program that runs, and what the kernel knows about it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sutazai_servers::process::{Options, Process};

use super::{Core, Program};
use crate::{failure::Failure, load::get};

/// Longest time from SIGTERM to the end.
const GRACE: Duration = Duration::from_secs(16);

/// A program that runs; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    log: PathBuf,
    begun: Instant,
    process: Process,
}

impl Running {
    pub(super) async fn start(program: &Program, core: Core, logs: &Path) -> Result<Self, Failure> {
        let log = logs.join(format!("{}.log", program.name));
        let mut words = core.prefix();
        words.push(program.file.display().to_string());
        words.extend(program.arguments.iter().cloned());
        let file = PathBuf::from(words.remove(0));
        let options = Options {
            name: program.name.clone(),
            program: file,
            arguments: words,
            environment: program.environment.clone(),
            log: log.clone(),
            grace: GRACE,
        };
        let doing = Failure::doing(format!("start {}", program.name));
        let begun = Instant::now();
        Ok(Self {
            name: program.name.clone(),
            log,
            begun,
            process: Process::start(&options).await.map_err(doing)?,
        })
    }

    /// Returns its process id; the words before the command become the command itself.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Waits until it answers `path` with 200, and returns how long that took since its start.
    ///
    /// # Errors
    /// It ended, or did not within `limit`.
    pub async fn ready(
        &self,
        address: SocketAddr,
        path: &str,
        limit: Duration,
    ) -> Result<Duration, Failure> {
        loop {
            if get(address, path).await.is_ok_and(|status| status == 200) {
                return Ok(self.begun.elapsed());
            }
            if self.process.has_ended() || self.begun.elapsed() > limit {
                return Err(Failure::NotReady {
                    name: self.name.clone(),
                    log: self.log.display().to_string(),
                });
            }
            tokio::time::sleep(Duration::from_micros(500)).await;
        }
    }

    /// Returns the memory that it has in KiB.
    ///
    /// # Errors
    /// It has ended.
    pub fn resident(&self) -> Result<f64, Failure> {
        self.status("VmRSS:")
    }

    /// Returns the part of its memory that no file backs, in KiB: without the pages of the program
    /// itself, which all its instances share.
    ///
    /// # Errors
    /// It has ended.
    pub fn anonymous(&self) -> Result<f64, Failure> {
        self.status("RssAnon:")
    }

    fn status(&self, field: &str) -> Result<f64, Failure> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()))
            .map_err(Failure::doing(format!("look at {}", self.name)))?;
        let found = status
            .lines()
            .find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"));
        found
            .and_then(|size| size.trim().parse().ok())
            .ok_or_else(|| Failure::wrong(format!("{} has no memory", self.name)))
    }

    /// Returns the time that all its threads have had a core, in microseconds.
    ///
    /// # Errors
    /// It has ended.
    pub fn cpu(&self) -> Result<f64, Failure> {
        let doing = Failure::doing(format!("look at {}", self.name));
        let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).map_err(doing)?;
        let of = |path: PathBuf| {
            let text = fs::read_to_string(path.join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<f64>().ok()
        };
        Ok(tasks
            .flatten()
            .filter_map(|task| of(task.path()))
            .sum::<f64>()
            / 1000.0)
    }

    /// Stops it in order.
    pub async fn stop(self) {
        self.process.stop().await;
    }
}
