//! `/api/v1/circuit-breaker`: the breakers of all processes, and an operator's hand on them.

use std::{collections::BTreeMap, net::TcpListener, sync::Arc};

use serde_json::{Value, json};
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{Instance, InstanceId, Registry, memory::MemoryRegistry},
};
use system_tests::{Client, Setup, Stage, eventually};

use crate::{UNKNOWN, members};

const PATH: &str = "/api/v1/circuit-breaker";

async fn status(client: &Client) -> Value {
    let answer = client.get(&format!("{PATH}/status")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json
}

/// Returns the breakers of one service in a status.
fn of(status: &Value, service: ServiceName) -> Vec<&Value> {
    let breakers = status["breakers"].as_array().expect("breakers");
    let own = breakers
        .iter()
        .filter(|one| one["service"] == service.as_str());
    own.collect()
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_default()
}

/// Returns the id of the only instance of a service.
async fn instance_of(client: &Client, service: ServiceName) -> String {
    let status = client.get("/api/v1/system/status").await.json;
    let services = status["registry"]["services"].as_array().expect("services");
    let found = services.iter().find(|one| one["name"] == service.as_str());
    text(&found.expect("the service")["instances"][0], "id").to_owned()
}

#[tokio::test]
async fn cb_02_every_way_out_of_every_process_has_a_breaker() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    assert_eq!(admin.chat("hello").await.status, 200);
    for (kind, input) in [
        ("llm.generate", json!({"prompt": "hello"})),
        ("automation.plan", json!({"goal": "hello"})),
    ] {
        let task = admin.submit(kind, input).await;
        admin.finished(&task).await;
    }
    assert_eq!(admin.get("/api/v1/agents").await.status, 200);
    // The model fleet's own door looks keys up by itself.
    let models = stage.models().with_credential(admin.credential());
    assert_eq!(models.get("/api/tags").await.status, 200);

    // Each way that the process has out: the database by schema, the services that it calls, the nodes.
    let ways = [
        (
            ServiceName::Backend,
            vec![
                "grpc:agent-orchestrator-",
                "grpc:ollama-proxy-",
                "grpc:task-coordinator-",
                "postgres:backend",
                "postgres:identity",
            ],
        ),
        (ServiceName::TaskCoordinator, vec!["postgres:tasks"]),
        (
            ServiceName::AgentOrchestrator,
            vec![
                "grpc:ollama-proxy-",
                "grpc:task-coordinator-",
                "postgres:agents",
            ],
        ),
        (
            ServiceName::OllamaProxy,
            vec!["ollama:", "postgres:identity"],
        ),
        (
            ServiceName::AutomationAgent,
            vec![
                "grpc:agent-orchestrator-",
                "grpc:ollama-proxy-",
                "grpc:task-coordinator-",
            ],
        ),
    ];
    let status = status(&admin).await;
    assert_eq!(status["silent"], json!([]));
    for (service, ways) in ways {
        let breakers = of(&status, service);
        for way in ways {
            let found = breakers
                .iter()
                .find(|one| text(one, "name").starts_with(way));
            let found = found.unwrap_or_else(|| panic!("{service} has no {way}: {breakers:#?}"));
            assert!(found["successes"].as_u64() > Some(0), "unused: {found}");
        }
    }
}

#[tokio::test]
async fn cb_01_the_status_tells_state_counts_last_error_and_next_try() {
    let stage = Stage::start().await;
    let admin = stage.admin();
    assert_eq!(admin.chat("hello").await.status, 200);
    let well = status(&admin).await;
    assert_eq!(members(&well), ["breakers", "counts", "silent", "status"]);
    assert_eq!(well["status"], "ok", "{well}");
    assert_eq!(
        members(&well["counts"]),
        ["closed", "forced", "half_open", "open"]
    );

    stage.nodes[0].kill();
    let open = eventually("an open breaker", async || {
        admin.chat("hello").await;
        let seen = status(&admin).await;
        let node = of(&seen, ServiceName::OllamaProxy)
            .into_iter()
            .find(|one| text(one, "name").starts_with("ollama:"))?
            .clone();
        (node["state"] == "open").then_some((seen, node))
    })
    .await;
    let (seen, node) = open;
    assert_eq!(
        members(&node),
        [
            "failures",
            "forced",
            "instance",
            "last_error",
            "name",
            "next_try_at",
            "rejections",
            "service",
            "state",
            "successes",
        ]
    );
    assert_eq!(
        (&seen["status"], &node["forced"]),
        (&json!("degraded"), &json!(false))
    );
    assert!(node["failures"].as_u64() >= Some(5), "{node}");
    assert!(!text(&node, "last_error").is_empty(), "{node}");
    assert!(node["next_try_at"].is_string(), "{node}");

    // The way back is in the history: failed, then one probe, then closed.
    stage.nodes[0].revive();
    let path = format!("{PATH}/{}", text(&node, "name"));
    eventually("a breaker that recovered", async || {
        admin.chat("hello").await;
        let one = admin.get(&path).await.json;
        (one["state"] == "closed").then_some(())
    })
    .await;
    let history = admin.get(&format!("{path}/history")).await.json;
    let transitions = history["instances"][0]["transitions"].as_array();
    let transitions = transitions.expect("transitions");
    let causes: Vec<_> = transitions.iter().map(|one| text(one, "cause")).collect();
    assert_eq!(causes[..2], ["failed", "waited"], "{history}");
    assert_eq!(causes.last(), Some(&"recovered"), "{history}");
    assert!(!text(&transitions[0], "error").is_empty(), "{history}");
    stage.stop().await;
}

#[tokio::test]
async fn cb_05_a_breaker_held_open_refuses_until_it_is_reset_and_names_who_did_it() {
    let stage = Stage::start().await;
    let admin = stage.admin();
    assert_eq!(admin.get("/api/v1/tasks").await.status, 200);
    let backend = instance_of(&admin, ServiceName::Backend).await;
    let coordinator = instance_of(&admin, ServiceName::TaskCoordinator).await;
    let one = format!("{PATH}/grpc:{coordinator}");
    let post = async |action: &str| {
        let path = format!("{one}/{action}?instance={backend}");
        let answer = admin
            .send(admin.request(reqwest::Method::POST, &path))
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json
    };

    let held = post("force-open").await;
    assert_eq!(
        (&held["state"], &held["instances"][0]["forced"]),
        (&json!("open"), &json!(true))
    );
    assert_eq!(held["instances"][0]["next_try_at"], Value::Null);
    let refused = admin.get("/api/v1/tasks").await;
    refused.assert_problem(503, "breaker_open");
    assert!(refused.retry_after().is_some(), "{}", refused.text);
    // The way on which the coordinator would be asked is the one that is held.
    let seen = status(&admin).await;
    assert_eq!(
        (&seen["status"], &seen["counts"]["forced"]),
        (&json!("degraded"), &json!(1))
    );
    assert_eq!(seen["silent"][0]["instance"], coordinator);
    assert_eq!(seen["silent"][0]["code"], "breaker_open");
    let metrics = stage.http(ServiceName::Backend).get("/metrics").await.text;
    let gauge = format!("breaker_state{{name=\"grpc:{coordinator}\"}} 2");
    assert!(metrics.contains(&gauge), "no {gauge}");

    let closed = post("force-closed").await;
    assert_eq!(
        (&closed["state"], &closed["instances"][0]["forced"]),
        (&json!("closed"), &json!(true))
    );
    assert_eq!(admin.get("/api/v1/tasks").await.status, 200);
    let reset = post("reset").await;
    assert_eq!(
        (&reset["state"], &reset["instances"][0]["forced"]),
        (&json!("closed"), &json!(false))
    );

    let history = admin
        .get(&format!("{one}/history?instance={backend}"))
        .await
        .json;
    let changes = history["instances"][0]["transitions"].as_array();
    let changes: Vec<_> = changes
        .expect("transitions")
        .iter()
        .map(|one| (text(one, "cause"), text(one, "operator").contains('/')))
        .collect();
    assert_eq!(
        changes,
        [
            ("forced_open", true),
            ("forced_closed", true),
            ("reset", true)
        ],
        "{history}"
    );
    let transitions =
        format!("breaker_transitions_total{{name=\"grpc:{coordinator}\",to=\"open\"}} 1");
    let metrics = stage.http(ServiceName::Backend).get("/metrics").await.text;
    assert!(metrics.contains(&transitions), "no {transitions}");
    stage.stop().await;
}

#[tokio::test]
async fn api_14_breakers_are_listed_by_name_and_found_by_it() {
    let admin = Stage::shared().await.admin();
    let list = admin.get(PATH).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let names: Vec<_> = list.items().iter().map(|one| text(one, "name")).collect();
    assert!(
        names.is_sorted() && names.contains(&"postgres:tasks"),
        "{names:?}"
    );
    // Accounts are read by two services.
    let one = admin.get(&format!("{PATH}/postgres:identity")).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let services = one.json["instances"].as_array().expect("instances").iter();
    let services: Vec<_> = services.map(|one| text(one, "service")).collect();
    assert_eq!(services, ["backend", "ollama-proxy"]);
}

#[tokio::test]
async fn api_14_what_is_not_there_is_a_problem() {
    let admin = Stage::shared().await.admin();
    for (action, method) in [
        ("", reqwest::Method::GET),
        ("/history", reqwest::Method::GET),
        ("/reset", reqwest::Method::POST),
        ("/force-open", reqwest::Method::POST),
        ("/force-closed", reqwest::Method::POST),
    ] {
        let path = format!("{PATH}/{UNKNOWN}{action}");
        let answer = admin.send(admin.request(method.clone(), &path)).await;
        answer.assert_problem(404, "breaker_not_found");
        if !action.is_empty() {
            let path = format!("{PATH}/postgres:tasks{action}?instance={UNKNOWN}");
            let answer = admin.send(admin.request(method, &path)).await;
            answer.assert_problem(404, "instance_not_found");
        }
    }
}

#[tokio::test]
async fn cb_05_only_who_may_manage_the_platform_sets_breakers() {
    let stage = Stage::shared().await;
    let user = stage.newcomer();
    user.get(PATH)
        .await
        .assert_problem(403, "missing_permission");
    let scopes = json!({"name": "watcher", "scopes": ["system:read"]});
    let made = stage.admin().post("/api/v1/auth/keys", scopes).await;
    let watcher = stage
        .stranger()
        .with_credential(Some(text(&made.json, "key")));
    assert_eq!(watcher.get(PATH).await.status, 200);
    for action in ["reset", "force-open", "force-closed"] {
        let path = format!("{PATH}/postgres:tasks/{action}");
        for client in [&user, &watcher] {
            let request = client.request(reqwest::Method::POST, &path);
            let answer = client.send(request).await;
            answer.assert_problem(403, "missing_permission");
        }
    }
}

#[tokio::test]
async fn cb_01_an_instance_that_does_not_answer_is_named_and_holds_nobody_up() {
    let registry = MemoryRegistry::new();
    let setup = Setup::default().registry(Arc::new(registry.clone()));
    let stage = setup.start().await;
    let admin = stage.admin();
    // It takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").expect("a port");
    let lease = registry
        .register(Instance {
            id: InstanceId::new("automation-agent-mute"),
            service: ServiceName::AutomationAgent,
            grpc: mute.local_addr().expect("an address"),
            http: None,
            version: "0.1.0".to_owned(),
            meta: BTreeMap::new(),
        })
        .await
        .expect("a lease");
    let started = tokio::time::Instant::now();
    let seen = status(&admin).await;
    assert!(started.elapsed().as_secs() < 5, "{:?}", started.elapsed());
    assert_eq!(seen["status"], "degraded");
    let silent = seen["silent"].as_array().expect("silent");
    assert_eq!(silent.len(), 1, "{seen}");
    assert_eq!(silent[0]["instance"], "automation-agent-mute");
    assert_eq!(silent[0]["code"], "deadline_exceeded");
    assert!(
        !of(&seen, ServiceName::TaskCoordinator).is_empty(),
        "{seen}"
    );

    // Nobody who answered has it, but the mute one might.
    admin
        .get(&format!("{PATH}/{UNKNOWN}"))
        .await
        .assert_problem(503, "instances_silent");
    lease.close().await.expect("the end of the lease");
    admin
        .get(&format!("{PATH}/{UNKNOWN}"))
        .await
        .assert_problem(404, "breaker_not_found");
    stage.stop().await;
}
