//! Who may do what in the Consul of a platform, and what it keeps.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use reqwest::Method;
use rustix::process::Signal;
use serde_json::{Value, json};
use system_tests::{Answer, Client};

use crate::platform::{Platform, REPLICAS, shared};

const REGISTER: &str = "/v1/agent/service/register";

/// Asks Consul with somebody's token, or with none.
async fn ask(
    platform: &Platform,
    whose: Option<&str>,
    method: Method,
    path: &str,
    body: Value,
) -> Answer {
    let consul = Client::new(&platform.servers().consul, None);
    let mut request = consul.request(method, path).json(&body);
    if let Some(name) = whose {
        request = request.header("X-Consul-Token", platform.consul_token(name));
    }
    consul.send(request).await
}

async fn ids(platform: &Platform, service: &str) -> Vec<String> {
    let passing = platform.passing(service).await.expect("Consul");
    let ids = passing.iter().map(|one| one["Service"]["ID"].as_str());
    ids.map(|id| id.expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_12_a_service_writes_its_own_entry_alone_and_a_stranger_only_looks() {
    let platform = shared().await;
    let before = ids(&platform, "ollama-proxy").await;
    let another = format!("/v1/agent/service/deregister/{}", before[0]);
    let entry = |name: &str| json!({"Name": name, "ID": "planted", "Port": 9});
    for (whose, path, body) in [
        (Some("backend"), another.as_str(), Value::Null),
        (Some("backend"), REGISTER, entry("ollama-proxy")),
        (Some("backend"), "/v1/kv/planted", json!("planted")),
        (Some("operator"), "/v1/kv/planted", json!("planted")),
        (Some("node"), REGISTER, entry("backend")),
        (Some("ui"), REGISTER, entry("backend")),
        (None, another.as_str(), Value::Null),
        (None, REGISTER, entry("backend")),
        (None, "/v1/kv/planted", json!("planted")),
        (None, "/v1/acl/policy", json!({"Name": "planted"})),
    ] {
        let answer = ask(&platform, whose, Method::PUT, path, body).await;
        assert_eq!(answer.status, 403, "{whose:?} {path}: {}", answer.text);
    }
    // Where the right is there, the same request is taken.
    let own = ask(&platform, Some("cli"), Method::PUT, REGISTER, entry("cli")).await;
    assert_eq!(own.status, 200, "{}", own.text);
    let out = "/v1/agent/service/deregister/planted";
    let out = ask(&platform, Some("operator"), Method::PUT, out, Value::Null).await;
    assert_eq!(out.status, 200, "{}", out.text);

    assert_eq!(before.len(), REPLICAS, "seen without a token: {before:?}");
    assert_eq!(ids(&platform, "ollama-proxy").await, before);
    let nodes = ask(
        &platform,
        None,
        Method::GET,
        "/v1/catalog/nodes",
        Value::Null,
    )
    .await;
    assert_eq!(nodes.json[0]["Node"], "local", "{}", nodes.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn sec_12_consuls_tokens_are_in_files_of_their_owner_and_nowhere_else() {
    let platform = shared().await;
    let servers = platform.servers();
    let folder = servers.consul_token_file.parent().expect("a folder");
    let files = fs::read_dir(folder).expect("secrets").flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("consul-"));
    let mut tokens = Vec::new();
    for file in files.map(|file| file.path()) {
        let mode = fs::metadata(&file).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        tokens.push(fs::read_to_string(&file).expect("a token"));
    }
    // The services, the doctor, three kinds of people, and whoever gives all of them their rights.
    assert_eq!(tokens.len(), 10, "{}", folder.display());
    let mut seen = logs(&servers.logs);
    for (name, process) in platform.description().processes {
        for part in ["cmdline", "environ"] {
            let text = fs::read(format!("/proc/{}/{part}", process.pid)).expect("a process");
            let text = String::from_utf8_lossy(&text).into_owned();
            seen.push((format!("{part} of {name}"), text));
        }
    }
    for (place, text) in &seen {
        let shown = tokens.iter().any(|token| text.contains(token.trim()));
        assert!(!shown, "a token stands in {place}");
    }
    let told = |(place, text): &(String, String)| {
        place == "environ of backend" && text.contains("CONSUL_HTTP_TOKEN_FILE=/")
    };
    assert!(seen.iter().any(told), "no service is told of its token");
}

/// Reads every log of the platform, by its name.
fn logs(folder: &Path) -> Vec<(String, String)> {
    let files = fs::read_dir(folder).expect("logs").flatten();
    let read = |file: fs::DirEntry| {
        let text = fs::read(file.path()).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        Some((file.path().display().to_string(), text))
    };
    let logs: Vec<_> = files.filter_map(read).collect();
    assert!(!logs.is_empty(), "no log in {}", folder.display());
    logs
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_02_what_is_entered_in_consul_outlives_a_kill_9() {
    let platform = shared().await;
    let entry = json!({"Name": "printer", "ID": "printer-1", "Address": "127.0.0.1", "Port": 9});
    let entered = ask(&platform, Some("operator"), Method::PUT, REGISTER, entry).await;
    assert_eq!(entered.status, 200, "{}", entered.text);
    let key = "/v1/kv/kept";
    let put = ask(
        &platform,
        Some("management"),
        Method::PUT,
        key,
        json!("kept"),
    )
    .await;
    assert_eq!(put.status, 200, "{}", put.text);
    let before = ids(&platform, "backend").await;

    let old = platform.signal("consul", Signal::KILL);
    platform.replaced("consul", old).await;

    assert_eq!(ids(&platform, "printer").await, ["printer-1"]);
    assert_eq!(ids(&platform, "backend").await, before);
    let key = format!("{key}?raw");
    let kept = ask(
        &platform,
        Some("management"),
        Method::GET,
        &key,
        Value::Null,
    )
    .await;
    assert_eq!(kept.json, "kept", "{}", kept.text);
    // Rights are kept, too.
    let out = "/v1/agent/service/deregister/printer-1";
    let refused = ask(&platform, Some("backend"), Method::PUT, out, Value::Null).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let out = ask(&platform, Some("operator"), Method::PUT, out, Value::Null).await;
    assert_eq!(out.status, 200, "{}", out.text);
}
