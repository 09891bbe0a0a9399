//! SIGTERM to one instance: out of the registry first, out of service later.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use system_tests::{Client, Still};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::platform::{Platform, REPLICAS, shared, within};

/// The pause that watchers have at least to see that an instance left; a little less than the 2 s,
/// because we see the first of them late.
const NOTICE: Duration = Duration::from_millis(1500);
/// Longest time for a stop, whatever hangs.
const STOPPED: Duration = Duration::from_secs(25);

#[tokio::test(flavor = "multi_thread")]
async fn msh_04_a_stopping_instance_leaves_consul_before_it_refuses_connections() {
    let platform = shared().await;
    let passing = platform.passing("ollama-proxy").await.expect("Consul");
    assert_eq!(passing.len(), REPLICAS);
    let old = platform.signal("ollama-proxy", Signal::TERM);

    let gone = within("its entry is gone", async || {
        let now = platform.passing("ollama-proxy").await?;
        let left = passing.iter().find(|one| {
            now.iter()
                .all(|other| other["Service"]["ID"] != one["Service"]["ID"])
        })?;
        Some(left.clone())
    })
    .await;
    let left = Instant::now();
    let port = gone["Service"]["Meta"]["grpc_port"]
        .as_str()
        .expect("a port");
    let address = format!("127.0.0.1:{port}");
    assert!(
        TcpStream::connect(&address).await.is_ok(),
        "{address} was closed before watchers could see that it left"
    );
    within("its listener is closed", async || {
        TcpStream::connect(&address).await.is_err().then_some(())
    })
    .await;
    assert!(
        left.elapsed() > NOTICE,
        "closed {:?} after leaving",
        left.elapsed()
    );
    platform.replaced("ollama-proxy", old).await;
}

/// Every entry of a service, whatever its checks say.
async fn entered(platform: &Platform, service: &str) -> Vec<Value> {
    let consul = Client::new(&platform.servers().consul, None);
    let all = consul.get(&format!("/v1/health/service/{service}")).await;
    all.json.as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_04_an_instance_that_can_not_deregister_stops_in_time_and_its_entry_dies() {
    let platform = shared().await;
    let door = platform.addresses("backend").expect("its doors").http;
    let is_its = |entry: &Value| entry["Service"]["Port"] == door.port();
    let key = platform.admin().credential().expect("a key").to_owned();
    // Nobody starts it again before we have seen all.
    let unattended = platform.unattended();
    let silent = Still::stop(platform.process("consul").pid);

    // A request whose second half comes when the door is closed already.
    let body = r#"{"message": "hello"}"#;
    let (first, second) = body.split_at(7);
    let head = format!(
        "POST /api/v1/chat HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{first}",
        body.len()
    );
    let mut open = TcpStream::connect(door).await.expect("its door");
    open.write_all(head.as_bytes()).await.expect("it reads");
    let process = platform.signal("backend", Signal::TERM);
    let told = Instant::now();
    within("its door is closed", async || {
        TcpStream::connect(door).await.is_err().then_some(())
    })
    .await;
    assert!(process.is_alive(), "it does not wait for open work");
    open.write_all(second.as_bytes()).await.expect("it reads");
    let mut answer = String::new();
    let read = timeout(STOPPED, open.read_to_string(&mut answer)).await;
    read.expect("an answer in time").expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    within("it has ended", async || (!process.is_alive()).then_some(())).await;
    assert!(told.elapsed() < STOPPED, "{:?}", told.elapsed());

    drop(silent);
    within("its entry fails its checks", async || {
        let passing = platform.passing("backend").await?;
        (!passing.is_empty() && !passing.iter().any(is_its)).then_some(())
    })
    .await;
    assert!(
        entered(&platform, "backend").await.iter().any(is_its),
        "it did deregister"
    );
    drop(unattended);
    platform.replaced("backend", process).await;
}
