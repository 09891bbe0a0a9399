//! `sutazai healthcheck` against services that take work and that do not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

use std::{
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;
use sutazai_testkit::{
    consul::FakeConsul,
    ollama::{FakeNode, Script},
};

/// Longest time until a service answers as it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service as a process; it ends with the test.
struct Service {
    child: Child,
    address: String,
}

impl Service {
    /// Starts a service with the keys of a folder.
    fn start(name: &str, folder: &Path, settings: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let secrets = folder.join("secrets");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sutazai"));
        command
            .args(["serve", name])
            .env_clear()
            .envs(settings.iter().copied())
            .env("SUTAZAI_PROFILE", "dev")
            .env("HTTP_LISTEN", &address)
            .env("SERVICE_KEY_FILE", secrets.join(format!("keys/{name}.pem")))
            .env("JWKS_FILE", secrets.join("jwks.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().unwrap();
        Self { child, address }
    }

    /// Asks until the answer is one that `fits`.
    async fn ask_until(&self, fits: impl Fn(&Output) -> bool) -> Output {
        let begun = Instant::now();
        loop {
            let output = healthcheck(&["--json", "--address", &self.address], &[]).await;
            if fits(&output) {
                return output;
            }
            assert!(begun.elapsed() < PATIENCE, "{output:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}

async fn healthcheck(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sutazai"));
    command
        .arg("healthcheck")
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied());
    command.output().await.unwrap()
}

fn answer(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn keys() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    sutazai_cli::environment::init(folder.path()).unwrap();
    folder
}

#[tokio::test]
async fn agt_02_a_service_that_takes_work_is_healthy() {
    let (keys, consul) = (keys(), FakeConsul::start().await);
    let node = FakeNode::start(Script::new(["tinyllama"])).await;
    let settings = [
        ("CONSUL_HTTP_ADDR", consul.url()),
        ("OLLAMA_URLS", node.url()),
    ];
    let settings = settings.each_ref().map(|(name, url)| (*name, url.as_str()));
    let service = Service::start("ollama-proxy", keys.path(), &settings);
    let output = service.ask_until(|output| output.status.success()).await;
    assert_eq!(answer(&output)["ready"], true);

    // Its own setting says where it is, as in a container.
    let port = service.address.rsplit(':').next().unwrap();
    let every = format!("0.0.0.0:{port}");
    let output = healthcheck(&[], &[("HTTP_LISTEN", &every)]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[tokio::test]
async fn agt_02_a_service_without_its_broker_is_not_and_says_why() {
    let (keys, consul) = (keys(), FakeConsul::start().await);
    let broker = format!("amqp://sutazai:n0b0dy@127.0.0.1:{}/%2f", free_port());
    let settings = [("CONSUL_HTTP_ADDR", &*consul.url()), ("AMQP_URL", &broker)];
    let service = Service::start("automation-agent", keys.path(), &settings);
    let answered = |output: &Output| answer(output).get("ready").is_some();
    let output = service.ask_until(answered).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let answer = answer(&output);
    assert_eq!(answer["ready"], false);
    assert!(!answer["detail"].as_str().unwrap().is_empty(), "{answer}");
}

#[tokio::test]
async fn nobody_and_silence_are_not_healthy() {
    let address = format!("127.0.0.1:{}", free_port());
    let output = healthcheck(&["--address", &address], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&address));

    // Connections are taken by the kernel, and nobody ever reads them.
    let silent = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let begun = Instant::now();
    let output = healthcheck(&["--address", &address, "--seconds", "1"], &[]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("did not answer"));
}
