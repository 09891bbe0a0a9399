//! `/health`, its aliases, `/livez`, `/readyz`: one implementation for every service.

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use sutazai_cli::configuration::SERVICES;
use system_tests::{Answer, Stage};

use crate::members;

const ALIASES: [&str; 3] = ["/health", "/api/health", "/api/v1/health"];

/// Fails unless the answer is that of a process that works; returns the names of its parts.
fn assert_healthy(answer: &Answer) -> Vec<&str> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let health = &answer.json;
    assert_eq!(
        members(health),
        ["services", "status", "uptime_seconds", "version"]
    );
    assert_eq!(health["status"], "ok", "{}", answer.text);
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].is_u64());
    let parts = &health["services"];
    for part in members(parts) {
        assert_eq!(parts[part], "ok", "{}", answer.text);
    }
    members(parts)
}

#[tokio::test]
async fn api_01_health_and_its_aliases_are_one() {
    let client = Stage::shared().await.stranger();
    let mut bodies = Vec::new();
    for path in ALIASES {
        let mut answer = client.get(path).await;
        assert_eq!(assert_healthy(&answer), ["database", "registry"]);
        answer.json["uptime_seconds"] = Value::Null;
        bodies.push(answer.json);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
}

#[tokio::test]
async fn api_01_every_service_tells_how_it_stands() {
    let stage = Stage::shared().await;
    for service in SERVICES {
        let client = stage.http(service);
        let answer = client.get("/health").await;
        let parts = assert_healthy(&answer);
        assert!(parts.contains(&"registry"), "{service}: {parts:?}");
        let live = client.get("/livez").await;
        assert_eq!(
            (live.status.as_u16(), live.json),
            (200, json!({"status": "ok"}))
        );
        let ready = client.get("/readyz").await;
        assert_eq!(
            (ready.status.as_u16(), ready.json),
            (200, json!({"status": "ready"}))
        );
        // The aliases belong to the public API alone.
        assert_eq!(
            client.get("/api/v1/health").await.status == 200,
            service.as_str() == "backend"
        );
    }
}

#[tokio::test]
async fn tgt_16_a_thousand_health_requests_ten_at_once_are_all_answered() {
    let client = Stage::shared().await.stranger();
    let statuses = stream::iter(0..1000)
        .map(|_| client.get("/health"))
        .buffer_unordered(10)
        .map(|answer| answer.status.as_u16());
    let wrong: Vec<u16> = statuses
        .filter(|status| std::future::ready(*status != 200))
        .collect()
        .await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[tokio::test]
async fn cfg_14_a_lost_database_shows_in_health_and_readiness() {
    let stage = Stage::start().await;
    let client = stage.stranger();
    stage.kill_postgres().await;
    let sick = system_tests::eventually("health without a database", async || {
        let answer = client.get("/health").await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    assert_eq!(sick.json["status"], "unavailable", "{}", sick.text);
    assert_eq!(
        sick.json["services"],
        json!({"database": "unavailable", "registry": "ok"})
    );
    client.get("/readyz").await.assert_problem(503, "not_ready");
    assert_eq!(client.get("/livez").await.status, 200, "it still serves");
}
