//! What the document says of the API.

use super::*;

/// Every operation of the API; a change here is a change of the contract.
const OPERATIONS: &[(&str, &str, &str, Option<&str>)] = &[
    ("get", "/.well-known/jwks.json", "get_well_known_jwks", None),
    ("get", "/api/health", "get_api_health", None),
    ("get", "/api/v1/agents", "list_agents", Some("agents:read")),
    (
        "get",
        "/api/v1/agents/{id}",
        "get_agent",
        Some("agents:read"),
    ),
    ("get", "/api/v1/auth/jwks", "get_jwks", None),
    ("get", "/api/v1/auth/keys", "list_keys", Some("keys:manage")),
    (
        "post",
        "/api/v1/auth/keys",
        "create_key",
        Some("keys:manage"),
    ),
    (
        "delete",
        "/api/v1/auth/keys/{id}",
        "revoke_key",
        Some("keys:manage"),
    ),
    ("post", "/api/v1/auth/login", "login", None),
    ("get", "/api/v1/auth/me", "get_me", None),
    (
        "delete",
        "/api/v1/cache",
        "clear_cache",
        Some("system:manage"),
    ),
    (
        "get",
        "/api/v1/cache",
        "get_cache_stats",
        Some("system:read"),
    ),
    (
        "delete",
        "/api/v1/cache/entries/{id}",
        "delete_cache_entry",
        Some("system:manage"),
    ),
    (
        "get",
        "/api/v1/cache/entries/{id}",
        "get_cache_entry",
        Some("system:read"),
    ),
    (
        "post",
        "/api/v1/cache/invalidate",
        "invalidate_cache",
        Some("system:manage"),
    ),
    ("post", "/api/v1/chat", "create_chat", Some("chat:use")),
    (
        "get",
        "/api/v1/chat/conversations",
        "list_conversations",
        Some("conversations:read"),
    ),
    (
        "delete",
        "/api/v1/chat/conversations/{id}",
        "delete_conversation",
        Some("conversations:write"),
    ),
    (
        "get",
        "/api/v1/chat/conversations/{id}",
        "get_conversation",
        Some("conversations:read"),
    ),
    (
        "get",
        "/api/v1/circuit-breaker",
        "list_circuit_breakers",
        Some("system:read"),
    ),
    (
        "get",
        "/api/v1/circuit-breaker/status",
        "get_circuit_breaker_status",
        Some("system:read"),
    ),
    (
        "get",
        "/api/v1/circuit-breaker/{id}",
        "get_circuit_breaker",
        Some("system:read"),
    ),
    (
        "post",
        "/api/v1/circuit-breaker/{id}/force-closed",
        "force_closed_circuit_breaker",
        Some("system:manage"),
    ),
    (
        "post",
        "/api/v1/circuit-breaker/{id}/force-open",
        "force_open_circuit_breaker",
        Some("system:manage"),
    ),
    (
        "get",
        "/api/v1/circuit-breaker/{id}/history",
        "get_circuit_breaker_history",
        Some("system:read"),
    ),
    (
        "post",
        "/api/v1/circuit-breaker/{id}/reset",
        "reset_circuit_breaker",
        Some("system:manage"),
    ),
    ("get", "/api/v1/health", "get_api_v1_health", None),
    ("get", "/api/v1/models", "list_models", Some("models:read")),
    (
        "get",
        "/api/v1/system/status",
        "get_system_status",
        Some("system:read"),
    ),
    ("get", "/api/v1/tasks", "list_tasks", Some("tasks:read")),
    ("post", "/api/v1/tasks", "create_task", Some("tasks:write")),
    (
        "get",
        "/api/v1/tasks/dead-letters",
        "list_dead_letters",
        Some("tasks:operate"),
    ),
    (
        "delete",
        "/api/v1/tasks/dead-letters/{id}",
        "delete_dead_letter",
        Some("tasks:operate"),
    ),
    (
        "get",
        "/api/v1/tasks/dead-letters/{id}",
        "get_dead_letter",
        Some("tasks:operate"),
    ),
    (
        "post",
        "/api/v1/tasks/dead-letters/{id}/redrive",
        "redrive_dead_letter",
        Some("tasks:operate"),
    ),
    (
        "get",
        "/api/v1/tasks/types",
        "list_task_types",
        Some("tasks:read"),
    ),
    ("get", "/api/v1/tasks/{id}", "get_task", Some("tasks:read")),
    (
        "post",
        "/api/v1/tasks/{id}/cancel",
        "cancel_task",
        Some("tasks:write"),
    ),
    (
        "get",
        "/api/v1/tasks/{id}/events",
        "watch_task",
        Some("tasks:read"),
    ),
    ("get", "/health", "get_health", None),
];

#[tokio::test]
async fn beh_03_the_operations_are_the_ones_of_the_contract() {
    let document = api().await.document().await;
    let mut found: Vec<_> = operations(&document)
        .into_iter()
        .map(|(method, path, operation)| {
            let id = operation["operationId"].as_str().unwrap();
            (method, path, id, operation["x-permission"].as_str())
        })
        .collect();
    found.sort_by_key(|(method, path, ..)| (*path, *method));
    let mut expected = OPERATIONS.to_vec();
    expected.sort_by_key(|(method, path, ..)| (*path, *method));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn api_02_the_document_is_complete_in_itself() {
    let document = api().await.document().await;
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{name} has no summary");
        assert!(
            operation["security"].is_array(),
            "{name} says nothing about credentials"
        );
        assert_eq!(
            operation["tags"].as_array().map(Vec::len),
            Some(1),
            "{name}"
        );
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(
                response["description"]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{name} {status}"
            );
            if status == "default" || status.starts_with('4') {
                assert!(
                    response["content"]["application/problem+json"].is_object(),
                    "{name} {status}"
                );
            }
        }
        for parameter in path.split('/').filter_map(|part| part.strip_prefix('{')) {
            let parameter = parameter.trim_end_matches('}');
            let listed = operation["parameters"].as_array().unwrap();
            assert!(
                listed
                    .iter()
                    .any(|one| one["name"] == parameter && one["required"] == true),
                "{name}"
            );
        }
    }
    let text = document.to_string();
    for (at, _) in text.match_indices("\"$ref\":\"#/components/schemas/") {
        let name = text[at..]
            .split('/')
            .nth(3)
            .unwrap()
            .split('"')
            .next()
            .unwrap();
        assert!(
            document["components"]["schemas"][name].is_object(),
            "{name} is not described"
        );
    }
}

/// The committed document is what the code says; `make generate` writes it anew.
#[tokio::test]
async fn api_02_the_committed_document_is_fresh() {
    const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
    let document = serde_json::to_string_pretty(&api().await.document().await).unwrap() + "\n";
    if std::env::var_os("GENERATE").is_some() {
        std::fs::write(FILE, &document).unwrap();
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    assert!(
        committed == document,
        "openapi.json is stale: run `make generate`"
    );
}
