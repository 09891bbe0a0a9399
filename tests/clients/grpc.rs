//! Python's grpcio at every service, with nothing but our .proto files, and with reflection alone.

use std::path::Path;

use serde_json::{Value, json};
use sutazai_auth::principal::Principal;
use sutazai_mesh::catalog::ServiceName;
use sutazai_resilience::Deadline;
use system_tests::{PythonScript, Stage, newcomer};
use tonic::Request;

const SERVICES: [ServiceName; 5] = [
    ServiceName::Backend,
    ServiceName::TaskCoordinator,
    ServiceName::AgentOrchestrator,
    ServiceName::OllamaProxy,
    ServiceName::AutomationAgent,
];

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_pythons_grpcio_calls_every_service_by_the_proto_files() {
    let protos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let stage = Stage::start().await;
    let seen = calls(&stage, json!(protos)).await;
    assert_story(&seen);
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_pythons_grpcio_calls_every_service_by_reflection() {
    let stage = Stage::start().await;
    let seen = calls(&stage, Value::Null).await;
    assert_story(&seen);
    stage.stop().await;
}

async fn calls(stage: &Stage, protos: Value) -> Value {
    let user = newcomer();
    let services = SERVICES.map(|service| {
        json!({
            "name": service.as_str(),
            "address": stage.addresses(service).grpc.to_string(),
            "token": token(stage, service, None),
            "user": token(stage, service, Some(&user)),
        })
    });
    let script = PythonScript::named("grpc_client.py").await;
    let input = json!({"protos": protos, "services": services});
    script.input(input).answer().await
}

/// Signs a call of the backend, for itself or for a user.
fn token(stage: &Stage, to: ServiceName, user: Option<&Principal>) -> String {
    let deadline = Deadline::after(std::time::Duration::from_secs(60));
    let backend = stage.identity(ServiceName::Backend);
    let request: Request<()> = backend
        .request(to, user, deadline, ())
        .expect("time for a call");
    let bearer = request.metadata().get("authorization").expect("a token");
    let bearer = bearer.to_str().expect("a header");
    bearer.trim_start_matches("Bearer ").to_owned()
}

fn assert_story(seen: &Value) {
    for service in SERVICES {
        let name = service.as_str();
        let seen = &seen[name];
        assert_eq!(seen["health"], json!(["SERVING", "SERVING"]), "{name}");
        assert_eq!(seen["describe"]["service"], name);
        assert_eq!(seen["describe"]["ready"], true, "{seen}");
        let totals = &seen["counters"]["totals"];
        assert!(
            totals.as_object().is_some_and(|totals| !totals.is_empty()),
            "{seen}"
        );
        assert!(
            seen["probe"].is_object() && seen["breakers"].is_object(),
            "{seen}"
        );
        assert_eq!(
            seen["refused"],
            json!(["UNAUTHENTICATED", "missing_credential"]),
            "{name}"
        );
    }
    assert_tasks(&seen["task-coordinator"]["own"]);
    let agents = &seen["agent-orchestrator"]["own"];
    assert_eq!(
        agents["one"]["name"], agents["listed"][0]["name"],
        "{agents}"
    );
    assert_eq!(agents["announce"][0], "PERMISSION_DENIED", "{agents}");
    let fleet = &seen["ollama-proxy"]["own"];
    assert!(
        fleet["models"].to_string().contains("tinyllama:latest"),
        "{fleet}"
    );
    let chat = fleet["chat"].as_array().expect("a stream");
    let member = |name: &str| {
        chat.iter()
            .filter(|event| event.get(name).is_some())
            .count()
    };
    assert_eq!((member("opened"), member("finished")), (1, 1), "{fleet}");
    assert_eq!(member("delta") + 2, chat.len(), "{fleet}");
}

fn assert_tasks(seen: &Value) {
    let id = &seen["id"];
    assert_eq!(
        (&seen["task"]["id"], &seen["cancelled"]),
        (id, id),
        "{seen}"
    );
    assert_eq!(seen["task"]["state"], "TASK_STATE_SUCCEEDED", "{seen}");
    assert_eq!(seen["listed"], json!([id]), "a newcomer has one task");
    let events = seen["events"].as_array().expect("a stream");
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence"], (at + 1).to_string(), "{seen}");
    }
    let last = events.last().expect("an event");
    assert_eq!(last["state"], "TASK_STATE_SUCCEEDED", "{seen}");
    assert!(seen["types"].to_string().contains("llm.generate"), "{seen}");
    for call in ["claim", "heartbeat"] {
        assert_eq!(seen[call][0], "PERMISSION_DENIED", "{seen}");
    }
}
