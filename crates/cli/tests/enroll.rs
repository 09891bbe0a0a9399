//! `sutazai enroll` on a real Consul that asks for tokens.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use serde_json::Value;
use sutazai_servers::{
    consul::{Consul, Options},
    scratch,
};

/// A Consul with the tokens of a folder.
struct Stage {
    consul: Consul,
    secrets: PathBuf,
}

impl Stage {
    async fn start() -> Self {
        let folder = scratch::folder().unwrap();
        sutazai_cli::environment::init(&folder).unwrap();
        let secrets = folder.join("secrets");
        let options = Options {
            data: folder.join("consul"),
            ports: None,
            durable: true,
            management_token: Some(token(&secrets, "management")),
        };
        let consul = Consul::start(options).await.unwrap();
        Self { consul, secrets }
    }

    async fn enroll(&self) -> Output {
        enroll(&self.consul.address(), &self.secrets).await
    }

    /// Tries to enter a service under a token and returns the status.
    async fn register(&self, service: &str, whose: &str) -> u16 {
        let body = format!(r#"{{"Name": "{service}"}}"#);
        let path = "/v1/agent/service/register";
        let token = token(&self.secrets, whose);
        let answer = self.consul.request("PUT", path, Some(&token), &body).await;
        answer.unwrap().status
    }
}

fn token(secrets: &Path, name: &str) -> String {
    fs::read_to_string(secrets.join(format!("consul-{name}"))).unwrap()
}

async fn enroll(address: &str, secrets: &Path) -> Output {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_sutazai"));
    command
        .env_clear()
        .args(["--json", "enroll", "--address", address, "--secrets"])
        .arg(secrets);
    command.output().await.unwrap()
}

/// Returns what changed, name by name.
fn changes(output: &Output) -> Vec<(String, bool, bool)> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let events = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "enrolled")
        .map(|event| {
            (
                event["name"].as_str().unwrap().to_owned(),
                event["policy_changed"].as_bool().unwrap(),
                event["token_made"].as_bool().unwrap(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_12_each_token_enters_its_own_service_and_a_second_run_changes_nothing() {
    let stage = Stage::start().await;
    assert_eq!(stage.register("backend", "backend").await, 403);

    let first = changes(&stage.enroll().await);
    let names: Vec<&str> = first.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "backend",
            "task-coordinator",
            "agent-orchestrator",
            "ollama-proxy",
            "automation-agent",
            "cli",
            "ui",
            "node",
            "operator"
        ]
    );
    let all_new = first.iter().all(|(_, policy, token)| *policy && *token);
    assert!(all_new, "{first:?}");

    assert_eq!(stage.register("backend", "backend").await, 200);
    assert_eq!(stage.register("ollama-proxy", "backend").await, 403);
    assert_eq!(stage.register("backend", "ui").await, 403);

    let second = changes(&stage.enroll().await);
    let nothing = second.iter().all(|(_, policy, token)| !policy && !token);
    assert!(nothing && second.len() == first.len(), "{second:?}");

    // Somebody widened a policy by hand: the next run takes that back.
    let management = token(&stage.secrets, "management");
    let path = "/v1/acl/policy/name/backend";
    let known = stage.consul.request("GET", path, Some(&management), "");
    let known: Value = serde_json::from_str(&known.await.unwrap().body).unwrap();
    let path = format!("/v1/acl/policy/{}", known["ID"].as_str().unwrap());
    let wide = serde_json::json!({
        "Name": "backend", "Rules": r#"service_prefix "" { policy = "write" }"#,
    })
    .to_string();
    let widened = stage.consul.request("PUT", &path, Some(&management), &wide);
    assert_eq!(widened.await.unwrap().status, 200);
    assert_eq!(stage.register("ollama-proxy", "backend").await, 200);
    let third = changes(&stage.enroll().await);
    assert_eq!(third[0], ("backend".to_owned(), true, false));
    assert_eq!(stage.register("ollama-proxy", "backend").await, 403);

    // Whoever has no right to give rights is refused, and no token is shown.
    let wrong = token(&stage.secrets, "ui");
    fs::write(stage.secrets.join("consul-management"), &wrong).unwrap();
    let refused = stage.enroll().await;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stdout);
    assert!(said.contains("403") && said.contains("backend"), "{said}");
    assert!(!said.contains(&wrong), "a token is shown: {said}");
    stage.consul.stop().await;
}

#[tokio::test]
async fn a_consul_that_is_not_there_and_a_missing_token_are_named() {
    let folder = tempfile::tempdir().unwrap();
    sutazai_cli::environment::init(folder.path()).unwrap();
    let secrets = folder.path().join("secrets");
    let output = enroll("http://127.0.0.1:1", &secrets).await;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("http://127.0.0.1:1"), "{said}");

    fs::remove_file(secrets.join("consul-backend")).unwrap();
    let output = enroll("http://127.0.0.1:1", &secrets).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("consul-backend"), "{said}");
}
