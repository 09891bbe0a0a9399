//! `/api/v1/agents`: who works here.

use serde_json::{Value, json};
use system_tests::{Stage, eventually};

use crate::members;

const PATH: &str = "/api/v1/agents";

#[tokio::test]
async fn api_05_the_live_agents_are_listed_with_what_they_can_do() {
    let client = Stage::shared().await.newcomer();
    // An agent announces itself once it is ready.
    let list = eventually("both agents", async || {
        let list = client.get(PATH).await;
        assert_eq!(list.status, 200, "{}", list.text);
        (list.items().len() == 2).then_some(list)
    })
    .await;
    assert_eq!(list.json["next_cursor"], Value::Null);
    for (agent, (id, task_type)) in list.items().iter().zip([
        ("agent-orchestrator", "llm.generate"),
        ("automation-agent", "automation.plan"),
    ]) {
        assert_eq!(
            members(agent),
            [
                "announced_at",
                "capabilities",
                "description",
                "id",
                "instances",
                "live",
                "slots",
                "version",
            ]
        );
        assert_eq!((&agent["id"], &agent["live"]), (&json!(id), &json!(true)));
        assert_eq!(agent["version"], env!("CARGO_PKG_VERSION"));
        let capabilities = agent["capabilities"].as_array().expect("capabilities");
        assert!(
            capabilities.iter().any(|one| one["task_type"] == task_type),
            "{agent}"
        );
        for capability in capabilities {
            assert!(
                capability["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            );
        }
        assert_eq!(
            agent["instances"].as_array().map(Vec::len),
            Some(1),
            "{agent}"
        );
        let alone = client.get(&format!("{PATH}/{id}")).await;
        assert_eq!((alone.status.as_u16(), &alone.json), (200, agent));
    }
}

#[tokio::test]
async fn api_05_an_agent_that_never_came_is_not_found() {
    let client = Stage::shared().await.newcomer();
    // Services that are no agents are none here either.
    for name in ["nobody", "backend", "task-coordinator"] {
        let answer = client.get(&format!("{PATH}/{name}")).await;
        answer.assert_problem(404, "agent_not_found");
    }
}
