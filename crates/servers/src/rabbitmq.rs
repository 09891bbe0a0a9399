//! A RabbitMQ node as a child process, with its port mapper beside it.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

pub mod management;

mod launch;
mod ports;
mod programs;

pub use management::Management;
pub use ports::Ports;
pub use programs::{NotFound, Programs};

use self::launch::Prepared;
use crate::{
    child::Child,
    start::{self, LaunchError, Readiness, TAKEN_PORT},
};

/// Longest time to wait for the node to be ready: recovery after a crash is part of it.
const START_LIMIT: Duration = Duration::from_secs(90);
/// Longest time a node may take to stop cleanly; one without messages takes 6 s.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// How to run a node.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of its data, logs and cookie; made when it is not there.
    pub data: PathBuf,
    /// Ports on 127.0.0.1.
    pub ports: Ports,
    /// Name of the administrator, made when the data is new.
    pub user: String,
    /// Password of the administrator: letters, digits, `-` and `_`.
    pub password: String,
}

impl Options {
    /// Makes options of a node on free ports, without Prometheus.
    pub fn new(data: impl Into<PathBuf>, user: &str, password: &str) -> Self {
        Self {
            data: data.into(),
            ports: Ports::default(),
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// Makes options of a throw-away node, with a password that everybody knows.
    pub fn throw_away(data: impl Into<PathBuf>) -> Self {
        Self::new(data, "sutazai", "throw-away")
    }
}

/// Why a node does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No programs.
    #[error(transparent)]
    NotFound(#[from] NotFound),
    /// It was found, and does not run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The node has other credentials than those it was started with: its data is older.
    #[error(
        "rabbitmq does not know the user `{0}` with this password; its data was made with others"
    )]
    Credentials(String),
    /// The management API did not do what it was asked.
    #[error("rabbitmq's management API did not {wish}")]
    Management {
        /// What it was asked.
        wish: &'static str,
        /// Why not.
        source: io::Error,
    },
}

/// A running node; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct RabbitMq {
    prepared: Prepared,
    ports: Ports,
    node: Child,
    mapper: Child,
}

impl RabbitMq {
    /// Starts the node on its data, and returns when it has no alarm and listens for AMQP.
    ///
    /// # Errors
    /// Names the missing package with its install command, or carries the end of the node's output.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let programs = Programs::find()?;
        let (account, data) = start::place(&options.data)?;
        let prepared = Prepared {
            programs,
            account,
            data,
            options,
        };
        let passes = |error: &StartError| matches!(error, StartError::Launch(error) if error.said(&TAKEN_PORT));
        start::again(passes, || prepared.launch()).await
    }

    /// Returns the port of AMQP on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.ports.amqp.unwrap_or_default()
    }

    /// Returns the ports in use: a later start with them is found by today's clients.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Returns the options that start this node again, on the same data and ports.
    pub fn options(&self) -> Options {
        Options {
            ports: self.ports,
            ..self.prepared.options.clone()
        }
    }

    /// Returns the folder that really holds the data.
    pub fn data(&self) -> &Path {
        &self.prepared.data
    }

    /// Returns the process id of the node.
    pub fn pid(&self) -> u32 {
        self.node.pid()
    }

    /// Returns the URL of a virtual host for the administrator, with the password.
    pub fn url(&self, vhost: &str) -> String {
        let Options { user, password, .. } = &self.prepared.options;
        let vhost = management::escaped(vhost);
        format!("amqp://{user}:{password}@127.0.0.1:{}/{vhost}", self.port())
    }

    /// Returns the management API of this node.
    pub fn management(&self) -> Management {
        let Options { user, password, .. } = &self.prepared.options;
        Management::new(self.ports.management.unwrap_or_default(), user, password)
    }

    /// Runs `rabbitmqctl` against this node and returns what it prints.
    ///
    /// # Errors
    /// Carries the end of what it printed when it fails.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String, StartError> {
        let (program, command) = self.prepared.ctl(self.ports, arguments);
        let output = tokio::process::Command::from(command).output().await;
        let output = output.map_err(LaunchError::running(&program))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(LaunchError::failed("rabbitmqctl", &output.stderr).into())
    }

    /// Returns when the node has ended, whoever ended it.
    pub async fn ended(&self) {
        self.node.ended().await;
    }

    /// Stops the node cleanly, and its port mapper.
    pub async fn stop(self) {
        self.end(Signal::TERM).await;
    }

    /// Kills the node as a crash would, and returns when it and its port mapper are gone.
    pub async fn kill(self) {
        self.end(Signal::KILL).await;
    }

    async fn end(&self, signal: Signal) {
        self.node.stop([signal, Signal::KILL], STOP_LIMIT).await;
        // It keeps nothing: there is no gentle way to prefer.
        self.mapper
            .stop([Signal::KILL, Signal::KILL], STOP_LIMIT)
            .await;
    }

    /// Waits until the node itself says that it is ready.
    async fn ready(&self, output: &Path) -> Result<(), StartError> {
        let management = self.management();
        let listens = format!("/health/checks/port-listener/{}", self.port());
        let readiness = Readiness {
            program: "rabbitmq-server",
            child: &self.node,
            limit: START_LIMIT,
            pause: Duration::from_millis(50),
            output,
            log: &self.prepared.log_file(),
        };
        readiness
            .wait(|| async {
                // Plugins, the management API among them, start before the node listens for clients.
                match management.status(&listens).await {
                    Ok(200) => {
                        let alarms = management.status("/health/checks/alarms").await;
                        Ok(alarms.is_ok_and(|status| status == 200))
                    }
                    Ok(401) => {
                        let user = self.prepared.options.user.clone();
                        Err(StartError::Credentials(user))
                    }
                    _ => Ok(false),
                }
            })
            .await
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.node.signal(Signal::TERM);
        self.mapper.signal(Signal::KILL);
    }
}
