//! Celery on the RabbitMQ of the platform: quorum queue, confirms, late acknowledgement, as many
//! processes as cores; it stores no result.

use std::{fs, path::PathBuf, process::Stdio, time::Duration};

use tokio::process::Command;

use super::python;
use crate::{
    failure::Failure,
    stage::{Core, Program, Running, Stage, cores},
};

/// Its name in the table.
pub const NAME: &str = "Celery";
/// What is installed.
pub const VERSION: &str = "5.7.0";
const APP: &str = include_str!("celery.py");
/// Tasks of one round; a rate needs no more of them.
pub const TASKS: usize = 3_200;

/// A worker at work, and what it takes to submit to it.
#[derive(Debug)]
pub struct Celery {
    worker: Running,
    python: PathBuf,
    app: PathBuf,
    environment: [(&'static str, String); 2],
}

impl Celery {
    /// Installs it where that was not done, and starts a worker.
    ///
    /// # Errors
    /// It can not be installed or started.
    pub async fn start(stage: &Stage, broker: &str) -> Result<Self, Failure> {
        let folder = stage.folder().join("peers/celery");
        let programs = python::installed(NAME, &folder, &format!("celery=={VERSION}"))?;
        let app = folder.join("celery_noop.py");
        fs::write(&app, APP).map_err(Failure::doing("write Celery's program"))?;
        let done = folder.join("done");
        fs::write(&done, "").map_err(Failure::doing("write Celery's count"))?;
        let words = [
            format!("--workdir={}", folder.display()),
            "--app=celery_noop".to_owned(),
            "worker".to_owned(),
            format!("--concurrency={}", cores::count()),
            "--queues=bench.celery".to_owned(),
            "--loglevel=ERROR".to_owned(),
            "--without-gossip".to_owned(),
            "--without-mingle".to_owned(),
        ];
        let environment = [
            ("BROKER_URL", broker.to_owned()),
            ("DONE_FILE", done.display().to_string()),
        ];
        let program = Program::new("celery", programs.join("celery"), words.into());
        let program = environment
            .clone()
            .into_iter()
            .fold(program, |program, (name, value)| program.with(name, value));
        Ok(Self {
            worker: stage.start(&program, Core::All).await?,
            python: programs.join("python"),
            app,
            environment,
        })
    }

    /// Has [`TASKS`] tasks run, and returns how long that took.
    ///
    /// # Errors
    /// They were not.
    pub async fn run(&self) -> Result<Duration, Failure> {
        let output = Command::new(&self.python)
            .arg(&self.app)
            .arg(TASKS.to_string())
            .envs(self.environment.clone())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(Failure::doing("submit to Celery"))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let seconds = said.trim().parse().ok();
        seconds
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| {
                let said = String::from_utf8_lossy(&output.stderr);
                let last = said.lines().next_back().unwrap_or_default();
                Failure::wrong(format!("Celery: {last}"))
            })
    }

    /// Stops the worker.
    pub async fn stop(self) {
        self.worker.stop().await;
    }
}
