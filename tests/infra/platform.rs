//! One platform of two instances of each service for all tests of this process.

use std::{path::PathBuf, sync::OnceLock, thread, time::Duration};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sutazai_cli::site::{
    Description,
    description::{Process, Servers, State},
};
use sutazai_servers::{
    process::{self, Process as Supervisor},
    scratch,
};
use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::{Client, program::program};
use tokio::{
    runtime::{Builder, Runtime},
    sync::{Mutex, MutexGuard},
};

/// Instances of each service.
pub(crate) const REPLICAS: usize = 2;
/// Longest time for a start, or for a restart to be over.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest time for an orderly stop.
const STOP_LIMIT: Duration = Duration::from_secs(60);

static SHARED: OnceLock<(Runtime, Platform)> = OnceLock::new();
/// One test at a time breaks something; the others wait until all runs again.
static TURN: Mutex<()> = Mutex::const_new(());

/// A platform under a supervisor that dies with this process.
pub(crate) struct Platform {
    data: PathBuf,
    // Held, not used: it answers as long as the platform asks.
    _node: FakeNode,
    _supervisor: Supervisor,
}

/// The shared platform, for this test alone, with everything running.
pub(crate) struct Turn {
    platform: &'static Platform,
    _turn: MutexGuard<'static, ()>,
}

impl std::ops::Deref for Turn {
    type Target = Platform;

    fn deref(&self) -> &Platform {
        self.platform
    }
}

/// Returns the shared platform, started at first use.
pub(crate) async fn shared() -> Turn {
    let turn = TURN.lock().await;
    let start = || &SHARED.get_or_init(start).1;
    let platform = tokio::task::spawn_blocking(start)
        .await
        .expect("the platform");
    platform.whole().await;
    Turn {
        platform,
        _turn: turn,
    }
}

fn start() -> (Runtime, Platform) {
    // A thread of its own: one that belongs to a runtime can not drive another.
    let started = thread::spawn(|| {
        let runtime = Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let platform = runtime.block_on(Platform::start());
        (runtime, platform)
    });
    started.join().expect("the platform")
}

impl Platform {
    async fn start() -> Self {
        let program = tokio::task::spawn_blocking(program)
            .await
            .expect("the program");
        let data = scratch::folder().expect("a folder").join("infra");
        std::fs::create_dir_all(&data).expect("a folder");
        let node = FakeNode::start(
            Script::new(["tinyllama:latest"])
                .tokens(["one ", "two ", "three"])
                .between_tokens(Duration::from_millis(30)),
        )
        .await;
        let log = data.join("supervisor.log");
        let options = process::Options {
            name: "supervisor".to_owned(),
            program,
            arguments: vec![
                "--json".to_owned(),
                "supervise".to_owned(),
                "--free-ports".to_owned(),
                format!("--replicas={REPLICAS}"),
                format!("--data={}", data.display()),
            ],
            environment: vec![("OLLAMA_URLS", node.url())],
            log: log.clone(),
            grace: STOP_LIMIT,
        };
        let supervisor = Supervisor::start(&options).await;
        let platform = Self {
            data,
            _node: node,
            _supervisor: supervisor.expect("the supervisor runs"),
        };
        let ready = async || {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(!said.contains(r#""event":"failed""#), "{said}");
            said.contains(r#""event":"ready""#).then_some(())
        };
        within("the platform takes work", ready).await;
        platform
    }

    /// Returns where everything is now.
    pub(crate) fn description(&self) -> Description {
        Description::read(&self.data).expect("the description of a running platform")
    }

    /// Returns where the servers are.
    pub(crate) fn servers(&self) -> Servers {
        self.description().servers.expect("servers")
    }

    /// Returns a client with the administrator's API key.
    pub(crate) fn admin(&self) -> Client {
        Client::with_key_of(&self.description())
    }

    /// Returns the process of a name.
    pub(crate) fn process(&self, name: &str) -> Process {
        self.description().processes[name]
    }

    /// Sends a signal to the process of a name, and returns it.
    pub(crate) fn signal(&self, name: &str, signal: Signal) -> Process {
        let process = self.process(name);
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.expect("a pid"), signal).expect("the process runs");
        process
    }

    /// Waits until another process has taken the place of this one, and everything works.
    pub(crate) async fn replaced(&self, name: &str, old: Process) {
        within(&format!("another process of {name}"), async || {
            let now = self.description().processes.get(name).copied()?;
            (now.pid != old.pid && now.is_alive()).then_some(())
        })
        .await;
        self.whole().await;
    }

    /// Waits until every process runs and Consul finds every instance passing.
    pub(crate) async fn whole(&self) {
        within("everything runs", async || {
            let running = self.description().processes;
            let runs = |process: &Process| process.state == State::Running && process.is_alive();
            if running.is_empty() || !running.values().all(runs) {
                return None;
            }
            for service in sutazai_cli::configuration::SERVICES {
                let passing = self.passing(service.as_str()).await?;
                if passing.len() != REPLICAS {
                    return None;
                }
            }
            Some(())
        })
        .await;
    }

    /// Returns what Consul says about the passing instances of a service; none when it is away.
    pub(crate) async fn passing(&self, service: &str) -> Option<Vec<Value>> {
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

/// As [`system_tests::eventually`], for what takes a restart of a server.
pub(crate) async fn within<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
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
