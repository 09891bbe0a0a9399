//! A Consul server as a child process: one node that is server and agent in one.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

mod launch;

pub use crate::probe::Answer;

use crate::{
    child::{Child, free_ports},
    probe,
    programs::{Program, ProgramError},
    start::{self, LaunchError, Readiness, TAKEN_PORT},
};

/// Consul as its Go module pins it.
pub const PROGRAM: Program = Program {
    name: "consul",
    package: "github.com/hashicorp/consul",
    variable: "CONSUL_BIN",
    module: include_str!("../programs/consul/go.mod"),
    checksums: include_str!("../programs/consul/go.sum"),
    minutes: 4,
    hint: "no Go:    HashiCorp's packages, https://developer.hashicorp.com/consul/install\n  \
           elsewhere: set CONSUL_BIN to the program",
};

/// Longest time to wait for a leader: replaying the log after a crash is part of it.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Longest time a server may take to stop by itself.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// How to run a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of its configuration, its log and, if durable, its data.
    pub data: PathBuf,
    /// Ports on 127.0.0.1; free ones when absent.
    pub ports: Option<Ports>,
    /// Whether registrations survive a restart; else they are kept in memory only.
    pub durable: bool,
    /// Token that may do everything, a UUID. With one, nothing is allowed without a token; without
    /// one everything is, which is for throw-away tests only.
    pub management_token: Option<String>,
}

/// Where a server listens on 127.0.0.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// API and pages.
    pub http: u16,
    /// Names under `.consul`, over UDP and TCP.
    pub dns: u16,
    /// Streams of the same facts, for proxies.
    pub grpc: u16,
    /// Between servers.
    pub server: u16,
    /// Membership within a data centre.
    pub serf_lan: u16,
    /// Membership of servers over data centres.
    pub serf_wan: u16,
}

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// It was found, and does not run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The token is no UUID.
    #[error("the management token is no UUID")]
    Token,
}

/// A running server; it is told to stop when this is dropped.
#[derive(Debug)]
pub struct Consul {
    options: Options,
    ports: Ports,
    child: Child,
}

impl Ports {
    /// Returns ports that nobody listens on now.
    ///
    /// # Errors
    /// Fails when the machine has none.
    pub fn free() -> io::Result<Self> {
        let [http, dns, grpc, server, lan, wan] = free_ports()?;
        Ok(Self {
            http,
            dns,
            grpc,
            server,
            serf_lan: lan,
            serf_wan: wan,
        })
    }
}

impl Consul {
    /// Starts a server and returns when it has a leader and answers.
    ///
    /// # Errors
    /// Names what is missing with the way to get it, or carries the end of the server's log.
    pub async fn start(mut options: Options) -> Result<Self, StartError> {
        let program = PROGRAM.obtain().await?;
        let (account, data) = start::place(&options.data)?;
        options.data = data;
        let passes = |error: &StartError| matches!(error, StartError::Launch(error) if error.said(&TAKEN_PORT));
        start::again(passes, || async {
            launch::clear_orphan(&options.data);
            let preparing = LaunchError::preparing(&options.data);
            let ports = match options.ports {
                Some(ports) => ports,
                None => Ports::free().map_err(preparing)?,
            };
            launch::launch(&program, account, &options, ports).await
        })
        .await
    }

    /// Returns where it listens.
    pub fn ports(&self) -> Ports {
        self.ports
    }

    /// Returns the address of its API and pages.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports.http)
    }

    /// Sends a request to its API, as `curl` would; a body is JSON.
    ///
    /// # Errors
    /// Fails when no answer comes, or none that is HTTP. Every status is an answer.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &str,
    ) -> io::Result<Answer> {
        let headers: Vec<_> = token.map(|t| ("X-Consul-Token", t)).into_iter().collect();
        probe::request(self.ports.http, method, path, &headers, body).await
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Returns what starts this server again: on the same ports and the same data.
    pub fn options(&self) -> Options {
        Options {
            ports: Some(self.ports),
            ..self.options.clone()
        }
    }

    /// Returns when the server has ended, whoever ended it.
    pub async fn ended(&self) {
        self.child.ended().await;
    }

    /// Stops the server; what is registered stays registered if it is durable.
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

    /// Waits for a leader that has entered its own service: from then on all calls are answered.
    async fn ready(&self) -> Result<(), StartError> {
        let log = log_file(&self.options.data);
        let readiness = Readiness {
            program: PROGRAM.name,
            child: &self.child,
            limit: START_LIMIT,
            pause: Duration::from_millis(50),
            output: &log,
            log: &log,
        };
        readiness
            .wait(|| async { Ok(self.answers().await.unwrap_or(false)) })
            .await
    }

    async fn answers(&self) -> io::Result<bool> {
        let token = self.options.management_token.as_deref();
        let path = "/v1/catalog/service/consul";
        let answer = self.request("GET", path, token, "").await?;
        Ok(answer.status == 200 && answer.body.contains("\"ServiceID\""))
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
    }
}

fn log_file(data: &Path) -> PathBuf {
    data.join("consul.log")
}
