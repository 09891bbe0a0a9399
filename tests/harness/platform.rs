//! The platform as processes of their own over real servers.

mod turn;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sutazai_cli::site::{
    Description,
    description::{Process, Servers, ServiceAddresses, State, UP_FOLDER},
};
use sutazai_servers::{
    consul,
    process::{self, Process as Supervisor},
    scratch,
};
use sutazai_testkit::ollama::FakeNode;

use crate::{Client, Still, program::program};

pub use turn::{Alone, Turn, alone, shared};

/// Setting under which Docker's client finds no engine: a platform of a test starts no Kong, whatever
/// engine this machine has.
pub const NO_ENGINE: (&str, &str) = ("DOCKER_HOST", "unix:///nowhere");
/// Longest time for a start, or for a restart to be over.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest time for an orderly stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// A platform under a supervisor that dies with this process.
pub struct Platform {
    data: PathBuf,
    replicas: usize,
    /// The model nodes; they answer as long as the platform asks.
    pub nodes: Vec<FakeNode>,
    supervisor: Supervisor,
}

impl Platform {
    /// Starts the servers and as many instances of each service, and returns when they take work.
    ///
    /// `name` is that of its folder: platforms of one process need different ones. The services
    /// have `settings` beside those of this process.
    pub async fn start(
        name: &str,
        replicas: usize,
        nodes: Vec<FakeNode>,
        settings: &[(&'static str, &str)],
    ) -> Self {
        let program = tokio::task::spawn_blocking(program)
            .await
            .expect("the program");
        // A machine on which nothing was built yet takes minutes for it, which are no part of a start.
        consul::PROGRAM.obtain().await.expect("Consul");
        let data = scratch::folder().expect("a folder").join(name);
        std::fs::create_dir_all(&data).expect("a folder");
        let urls: Vec<String> = nodes.iter().map(FakeNode::url).collect();
        let settings = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let log = data.join("supervisor.log");
        let options = process::Options {
            name: "supervisor".to_owned(),
            program,
            arguments: vec![
                "--json".to_owned(),
                "supervise".to_owned(),
                "--free-ports".to_owned(),
                format!("--replicas={replicas}"),
                format!("--data={}", data.display()),
            ],
            environment: settings
                .chain([
                    ("OLLAMA_URLS", urls.join(",")),
                    (NO_ENGINE.0, NO_ENGINE.1.to_owned()),
                ])
                .collect(),
            log: log.clone(),
            grace: STOP_LIMIT,
        };
        let supervisor = Supervisor::start(&options).await;
        let platform = Self {
            data,
            replicas,
            nodes,
            supervisor: supervisor.expect("the supervisor runs"),
        };
        let ready = async || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!said.contains(r#""event":"failed""#), "{said}");
            said.contains(r#""event":"ready""#).then_some(())
        };
        within("the platform takes work", ready).await;
        platform
    }

    /// Stops services and servers in order.
    pub async fn stop(self) {
        self.supervisor.stop().await;
    }

    /// Returns the folder that holds its state.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Returns where everything is now.
    pub fn description(&self) -> Description {
        Description::read(&self.data).expect("the description of a running platform")
    }

    /// Returns the URL of the database for its superuser.
    pub fn superuser_url(&self) -> String {
        let password = std::fs::read_to_string(self.state().join("secrets/postgres-superuser"));
        format!(
            "postgres://postgres:{}@127.0.0.1:{}/sutazai",
            password.expect("the password").trim(),
            self.description().postgres_port
        )
    }

    fn state(&self) -> PathBuf {
        self.data.join(UP_FOLDER)
    }

    /// Returns where the servers are.
    pub fn servers(&self) -> Servers {
        self.description().servers.expect("servers")
    }

    /// Returns a client with the administrator's API key.
    pub fn admin(&self) -> Client {
        Client::with_key_of(&self.description())
    }

    /// Returns the process of a name.
    pub fn process(&self, name: &str) -> Process {
        self.description().processes[name]
    }

    /// Returns what the process of a name has logged so far, line by line.
    pub fn log(&self, name: &str) -> Vec<Value> {
        let file = self.state().join("logs").join(format!("{name}.log"));
        let log = std::fs::read_to_string(file).expect("the log");
        let lines = log.lines();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Returns where the process of a name is reached, as it said last; none for a server. The
    /// description lists instances in the registry's order, which tells nothing of their processes.
    pub fn addresses(&self, name: &str) -> Option<ServiceAddresses> {
        let log = self.log(name);
        let ready = |line: &&Value| line["message"] == "service ready";
        let said = log.iter().rev().find(ready)?;
        let address = |key: &str| said[key].as_str()?.parse().ok();
        Some(ServiceAddresses {
            http: address("http")?,
            grpc: address("grpc")?,
        })
    }

    /// Sends a signal to the process of a name, and returns it.
    pub fn signal(&self, name: &str, signal: Signal) -> Process {
        let process = self.process(name);
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("the process runs");
        process
    }

    /// Lets the supervisor stand still: what ends is not started again before this is dropped.
    pub fn unattended(&self) -> Still {
        Still::stop(self.description().pid)
    }

    /// Waits until another process has taken the place of this one, and everything works.
    pub async fn replaced(&self, name: &str, old: Process) {
        within(&format!("another process of {name}"), async || {
            let now = self.description().processes.get(name).copied()?;
            (now.pid != old.pid && now.is_alive()).then_some(())
        })
        .await;
        self.whole().await;
    }

    /// Waits until every process runs and Consul finds every instance passing.
    pub async fn whole(&self) {
        within("everything runs", async || {
            let running = self.description().processes;
            let runs = |process: &Process| process.state == State::Running && process.is_alive();
            if running.is_empty() || !running.values().all(runs) {
                return None;
            }
            for service in sutazai_cli::configuration::SERVICES {
                let passing = self.passing(service.as_str()).await?;
                if passing.len() != self.replicas {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Asks RabbitMQ's management API for a list.
    ///
    /// # Errors
    /// There was no answer, or it was no list.
    pub async fn rabbitmq(&self, path: &str) -> Result<Vec<Value>, reqwest::Error> {
        let servers = self.servers();
        let password =
            std::fs::read_to_string(&servers.rabbitmq_password_file).expect("the password");
        let request = Client::new(&servers.rabbitmq, None)
            .request(reqwest::Method::GET, path)
            .basic_auth(&servers.rabbitmq_user, Some(password.trim()));
        request.send().await?.error_for_status()?.json().await
    }

    /// Returns somebody's token for Consul.
    pub fn consul_token(&self, name: &str) -> String {
        let doctors = self.servers().consul_token_file;
        let token = std::fs::read_to_string(doctors.with_file_name(format!("consul-{name}")));
        token.expect("the token").trim().to_owned()
    }

    /// Returns what Consul says about the passing instances of a service; none when it is away.
    pub async fn passing(&self, service: &str) -> Option<Vec<Value>> {
        let consul = Client::new(&self.servers().consul, None);
        let path = format!("/v1/health/service/{service}?passing");
        let answer = consul
            .request(reqwest::Method::GET, &path)
            .send()
            .await
            .ok()?;
        answer.json().await.ok()
    }
}

/// As [`crate::eventually`], for what takes a restart of a server.
pub async fn within<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(LIMIT, found)
        .await
        .unwrap_or_else(|_| panic!("waited in vain: {what}"))
}
