//! Who works here.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, InstanceId, Registry, memory::MemoryRegistry},
};
use system_tests::{Client, Setup, eventually};

const PATH: &str = "/api/v1/agents";

async fn agents(client: &Client) -> Vec<Value> {
    let answer = client.get(PATH).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json["items"].as_array().expect("items").clone()
}

fn names(agents: &[Value]) -> Vec<&str> {
    agents
        .iter()
        .filter_map(|agent| agent["id"].as_str())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_01_the_list_of_agents_survives_odd_and_absent_ones() {
    let registry = MemoryRegistry::new();
    let stage = Setup::default()
        .registry(Arc::new(registry.clone()))
        .start()
        .await;
    let client = stage.admin();
    let both = ["agent-orchestrator", "automation-agent"];
    // An agent announces itself once it is ready.
    let listed = eventually("both agents", async || {
        let agents = agents(&client).await;
        (names(&agents) == both).then_some(agents)
    })
    .await;
    for (agent, task_type) in listed.iter().zip(["llm.generate", "automation.plan"]) {
        assert_eq!(agent["live"], true, "{agent}");
        assert_eq!(agent["capabilities"][0]["task_type"], task_type);
        assert!(
            agent["slots"].as_u64().is_some_and(|slots| slots > 0),
            "{agent}"
        );
        assert!(agent["instances"][0]["address"].is_string(), "{agent}");
        let one = client
            .get(&format!("{PATH}/{}", agent["id"].as_str().expect("an id")))
            .await;
        assert_eq!(one.json, *agent, "the same in the list and alone");
    }
    client
        .get(&format!("{PATH}/nobody"))
        .await
        .assert_problem(404, "agent_not_found");

    // Somebody registers who answers nowhere and says strange things.
    let odd = Instance {
        id: InstanceId::new("odd"),
        service: ServiceName::AutomationAgent,
        grpc: "127.0.0.1:1".parse().expect("an address"),
        http: None,
        version: "no version".to_owned(),
        meta: BTreeMap::from([("slots".to_owned(), "-1".to_owned())]),
    };
    let lease = registry
        .register(odd)
        .await
        .expect("a place in the registry");
    assert_eq!(names(&agents(&client).await), both);
    lease.close().await.expect("the registry");

    stage
        .platform
        .stop_service(ServiceName::AutomationAgent)
        .await;
    // The list is kept for two seconds.
    system_tests::eventually("the list without the stopped agent", async || {
        (names(&agents(&client).await) == ["agent-orchestrator"]).then_some(())
    })
    .await;
    let gone = client.get(&format!("{PATH}/automation-agent")).await;
    assert_eq!(
        (gone.status.as_u16(), &gone.json["live"]),
        (200, &json!(false)),
        "{}",
        gone.text
    );
    assert_eq!(gone.json["instances"], json!([]));
    stage.stop().await;
}
