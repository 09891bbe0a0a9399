//! Which breakers stand before the servers that all share.

use serde_json::{Value, json};
use sutazai_mesh::catalog::ServiceName;
use system_tests::Client;

use crate::platform::{REPLICAS, shared, within};

/// The servers that each service reaches, by the names of their breakers.
const WAYS: [(ServiceName, &[&str]); 5] = [
    (ServiceName::Backend, &["consul", "redis"]),
    (ServiceName::TaskCoordinator, &["consul", "rabbitmq"]),
    (ServiceName::AgentOrchestrator, &["consul", "rabbitmq"]),
    (ServiceName::OllamaProxy, &["consul", "redis"]),
    (ServiceName::AutomationAgent, &["consul", "rabbitmq"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn cb_02_every_way_to_a_server_has_a_breaker_that_let_work_through() {
    let platform = shared().await;
    let admin = platform.admin();
    let doors = platform.description().replicas[ServiceName::Backend.as_str()].clone();
    // One piece of work passes through one of two instances, so there is some until all were used.
    within("work through every breaker", async || {
        for door in &doors {
            let url = format!("http://{}", door.http);
            let client = Client::new(&url, None).with_credential(admin.credential());
            assert_eq!(client.get("/api/v1/models").await.status, 200);
        }
        for (kind, input) in [
            ("llm.generate", json!({"prompt": "hello"})),
            ("automation.plan", json!({"goal": "hello"})),
        ] {
            let task = admin.submit(kind, input).await;
            admin.finished(&task).await;
        }
        let status = admin.get("/api/v1/circuit-breaker/status").await.json;
        let unused = unused(&status);
        println!("still unused: {unused:?}");
        unused.is_empty().then_some(())
    })
    .await;
}

/// Lists the ways that some instance of a service has no used breaker for.
fn unused(status: &Value) -> Vec<(ServiceName, &'static str)> {
    let breakers = status["breakers"].as_array().cloned().unwrap_or_default();
    let instances = |service: ServiceName, way: &str| {
        let used = breakers.iter().filter(|one| {
            one["service"] == service.as_str()
                && one["name"] == way
                && one["successes"].as_u64() > Some(0)
        });
        used.count()
    };
    let ways = WAYS
        .iter()
        .flat_map(|(service, ways)| ways.iter().map(|way| (*service, *way)));
    ways.filter(|(service, way)| instances(*service, way) < REPLICAS)
        .collect()
}
