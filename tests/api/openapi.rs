//! `/openapi.json`: the document says what the API does.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use system_tests::{Client, Producer, Stage};

use crate::{
    document::{Document, Operation},
    schema::mismatches,
};

/// Collects every `$ref` below a value.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(object) => {
            found.extend(object.get("$ref").and_then(Value::as_str));
            object.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

/// Returns the example of an operation's body.
fn example<'a>(document: &'a Document, operation: Operation<'a>) -> Option<&'a Value> {
    let content = operation.spec["requestBody"]["content"].as_object()?;
    let json = &content["application/json"];
    assert_eq!(content.len(), 1, "{}", operation.id());
    let schema = document.resolve(&json["schema"]);
    let found = [&json["example"], &schema["example"], &schema["examples"][0]];
    found.into_iter().find(|example| !example.is_null())
}

#[tokio::test]
async fn api_02_the_served_document_is_the_committed_one() {
    let served = Document::of(&Stage::shared().await.stranger()).await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/backend/openapi.json");
    let committed = std::fs::read_to_string(path).expect("the committed document");
    let committed: Value = serde_json::from_str(&committed).expect("JSON");
    assert_eq!(served.0, committed, "run `make generate`");
}

#[tokio::test]
async fn api_02_the_document_is_openapi_3_1_and_complete_in_itself() {
    let document = Document::of(&Stage::shared().await.stranger()).await;
    let version = document.0["openapi"].as_str().unwrap_or_default();
    assert!(version.starts_with("3.1."), "{version}");
    assert_eq!(document.0["info"]["version"], env!("CARGO_PKG_VERSION"));
    let mut found = BTreeSet::new();
    references(&document.0, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let target = reference.strip_prefix('#');
        let target = target.and_then(|pointer| document.0.pointer(pointer));
        assert!(target.is_some_and(Value::is_object), "{reference}");
    }
    let bearer = &document.0["components"]["securitySchemes"]["bearer"];
    assert_eq!(
        (&bearer["type"], &bearer["scheme"]),
        (&json!("http"), &json!("bearer"))
    );
}

#[tokio::test]
async fn api_02_operations_have_ids_of_their_own_and_describe_their_errors() {
    let document = Document::of(&Stage::shared().await.stranger()).await;
    let mut ids = BTreeSet::new();
    for operation in document.operations() {
        let id = operation.id();
        assert!(
            !id.is_empty() && ids.insert(id),
            "{id} at {}",
            operation.path
        );
        let needs = operation.spec["security"].as_array().expect("security");
        let mut errors = vec!["default"];
        errors.extend((!needs.is_empty()).then_some("401"));
        errors.extend(operation.permission().map(|_| "403"));
        errors.extend(operation.path.contains("{id}").then_some("404"));
        // An agent's name and an unknown id are told apart by 404 and 400, both problems.
        for status in errors {
            let response = &operation.spec["responses"][status];
            let body = &response["content"]["application/problem+json"]["schema"];
            assert_eq!(
                body["$ref"], "#/components/schemas/Problem",
                "{id} {status}"
            );
        }
        let success = operation.spec["responses"].as_object();
        let success = success.into_iter().flatten();
        assert_eq!(
            success
                .filter(|(status, _)| status.starts_with('2'))
                .count(),
            1,
            "{id}"
        );
    }
}

#[tokio::test]
async fn api_02_the_examples_of_bodies_are_accepted() {
    let stage = Stage::shared().await;
    let client = stage.admin();
    let document = Document::of(&client).await;
    let mut tried = BTreeSet::new();
    for operation in document.operations() {
        if operation.spec["requestBody"].is_null() {
            continue;
        }
        let id = operation.id();
        let example = example(&document, operation).unwrap_or_else(|| panic!("{id}: no example"));
        let schema = &operation.spec["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(mismatches(&document, schema, example), [""; 0], "{id}");
        let request = client.request(operation.method(), &operation.address());
        let answer = client.send(request.json(example)).await;
        // No document can know the password.
        let expected = match id {
            "login" => 401,
            _ => operation.success().map_or(0, |(status, _)| status),
        };
        assert_eq!(answer.status, expected, "{id}: {}", answer.text);
        tried.insert(id);
    }
    assert_eq!(
        tried,
        BTreeSet::from([
            "create_chat",
            "create_key",
            "create_task",
            "invalidate_cache",
            "login"
        ])
    );
}

/// Makes one of everything, so that no list is empty and no id unknown.
async fn furnish(stage: &Stage, client: &Client) -> [(&'static str, String); 6] {
    let chat = client.chat("hello").await;
    let conversation = chat.json["conversation_id"].as_str().expect("an id");
    let key = json!({"name": "conformance", "scopes": ["tasks:read"]});
    let key = client.post("/api/v1/auth/keys", key).await;
    let task = client
        .submit("llm.generate", json!({"prompt": "hello"}))
        .await;
    client.finished(&task).await;
    let producer = Producer::new(stage.broker().clone()).await;
    let letter = crate::tasks::dead_letters::bury(client, &producer).await;
    [
        ("/api/v1/chat/conversations/{id}", conversation.to_owned()),
        (
            "/api/v1/auth/keys/{id}",
            key.json["id"].as_str().expect("an id").to_owned(),
        ),
        ("/api/v1/tasks/dead-letters/{id}", letter),
        ("/api/v1/tasks/{id}", task),
        ("/api/v1/circuit-breaker/{id}", "postgres:tasks".to_owned()),
        ("/api/v1/cache/entries/{id}", "models:all".to_owned()),
    ]
}

#[tokio::test]
async fn api_02_answers_are_what_the_document_says() {
    let stage = Stage::shared().await;
    let client = stage.admin();
    let document = Document::of(&client).await;
    let things = furnish(stage, &client).await;
    let mut operations = document.operations();
    // What deletes comes last.
    operations.sort_by_key(|operation| operation.method() == "DELETE");
    let mut compared = 0;
    for operation in operations {
        let id = operation.id();
        let Some((status, schema)) = operation.success() else {
            panic!("{id} never succeeds");
        };
        // A breaker that is held open would take the database from everybody on this stage.
        if ["watch_task", "login", "force_open_circuit_breaker"].contains(&id) {
            continue;
        }
        let thing = things
            .iter()
            .find(|(path, _)| operation.path.starts_with(path));
        let name = thing.map_or("automation-agent", |(_, name)| name);
        let path = operation.path.replace("{id}", name);
        // What is cached lives for seconds, and some operations forget it.
        if path.contains("/cache/") {
            assert_eq!(client.get("/api/v1/models").await.status, 200);
        }
        let mut request = client.request(operation.method(), &path);
        if let Some(example) = example(&document, operation) {
            request = request.json(example);
        }
        let answer = client.send(request).await;
        assert_eq!(answer.status, status, "{id}: {}", answer.text);
        if schema.is_null() {
            assert_eq!(answer.text, "", "{id}");
            continue;
        }
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{id}"
        );
        let faults = mismatches(&document, schema, &answer.json);
        assert!(faults.is_empty(), "{id}: {faults:#?}\n{}", answer.text);
        compared += 1;
    }
    assert!(compared >= 27, "{compared}");
}

#[tokio::test]
async fn api_02_problems_are_what_the_document_says() {
    let stage = Stage::shared().await;
    let client = stage.admin();
    let document = Document::of(&client).await;
    let schema = json!({"$ref": "#/components/schemas/Problem"});
    for answer in [
        stage.stranger().get("/api/v1/tasks").await,
        client.get("/nothing").await,
        client.post("/api/v1/chat", json!({"message": 7})).await,
        client
            .post("/api/v1/chat", json!({"message": "m", "model": "tinylama"}))
            .await,
    ] {
        assert!(answer.status.is_client_error());
        let faults = mismatches(&document, &schema, &answer.json);
        assert!(faults.is_empty(), "{faults:#?}\n{}", answer.text);
    }
}
