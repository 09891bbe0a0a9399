//! The main jobs, with every part carrying its share.

use serde_json::{Value, json};
use system_tests::assert_history;

use crate::platform::{shared, within};

/// Services whose process holds an agent.
const AGENTS: [&str; 2] = ["agent-orchestrator", "automation-agent"];

#[tokio::test(flavor = "multi_thread")]
async fn agt_02_a_chat_and_a_task_pass_through_five_processes() {
    let platform = shared().await;
    let client = platform.admin();
    let chat = client.chat("hello").await;
    assert_eq!(chat.status, 200, "{}", chat.text);
    assert_eq!(chat.json["response"], "one two three");

    let id = client
        .submit("llm.generate", json!({"prompt": "say it"}))
        .await;
    let task = client.finished(&id).await;
    assert_eq!(task["state"], "succeeded", "{task}");
    assert_eq!(task["result"]["text"], "one two three");
    assert_history(&client.history(&id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_01_consul_lists_every_instance_as_passing() {
    let platform = shared().await;
    for service in sutazai_cli::configuration::SERVICES {
        let passing = platform.passing(service.as_str()).await.expect("Consul");
        let mut known = platform.description().replicas[service.as_str()].clone();
        assert_eq!(passing.len(), known.len(), "{service}: {passing:#?}");
        for instance in passing {
            let port = &instance["Service"]["Port"];
            known.retain(|at| at.grpc.port() != *port && at.http.port() != *port);
            let checks = instance["Checks"].as_array().expect("checks").clone();
            assert!(
                checks.iter().all(|check| check["Status"] == "passing"),
                "{checks:#?}"
            );
        }
        assert!(known.is_empty(), "{service}: not in Consul: {known:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_07_agents_are_connected_to_rabbitmq_and_consume_quorum_queues() {
    let platform = shared().await;
    let connections = platform.rabbitmq("/api/connections").await.expect("a list");
    let name = |connection: &Value| {
        let properties = &connection["client_properties"];
        properties["connection_name"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let names: Vec<String> = connections.iter().map(name).collect();
    for agent in AGENTS {
        let own = names.iter().filter(|name| name.contains(agent)).count();
        assert!(
            own >= 2,
            "{agent} has {own} connections of two instances: {names:?}"
        );
    }
    // The broker counts consumers anew every few seconds; another test may just have killed it.
    within("the agents consume", async || {
        let queues = platform.rabbitmq("/api/queues").await.ok()?;
        let served = queues
            .iter()
            .filter(|queue| queue["type"] == "quorum" && queue["consumers"].as_u64() >= Some(1));
        (served.count() >= AGENTS.len()).then_some(())
    })
    .await;
}
