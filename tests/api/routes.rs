//! What holds for every address: who may pass, which methods there are, and how errors look.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{Answer, Client, Stage};

use crate::{UNKNOWN, document::Document};

/// The operations that need no credential. A row here is a decision, never a convenience.
const PUBLIC: [(&str, &str); 6] = [
    ("GET", "/health"),
    ("GET", "/api/health"),
    ("GET", "/api/v1/health"),
    ("GET", "/api/v1/auth/jwks"),
    ("GET", "/.well-known/jwks.json"),
    ("POST", "/api/v1/auth/login"),
];
/// Addresses beside the document, all of them public.
const PAGES: [&str; 7] = [
    "/openapi.json",
    "/docs/",
    "/docs/errors",
    "/redoc",
    "/livez",
    "/readyz",
    "/metrics",
];
/// Addresses that were never there, are not there yet, or almost are.
const NOWHERE: [&str; 9] = [
    "/api",
    "/api/v1",
    "/api/v1/nothing",
    "/api/v1/tasks/",
    "/api/v1/Tasks",
    "/api/v2/tasks",
    "/api/v1/mcp",
    "/api/tags",
    "/%2e%2e/etc/passwd",
];

async fn ask(client: &Client, method: &Method, path: &str) -> Answer {
    client.send(client.request(method.clone(), path)).await
}

/// Fails unless an error says everything that somebody needs who looks for it.
fn assert_traceable(answer: &Answer, path: &str) {
    let problem = &answer.json;
    assert_eq!(problem["instance"], path, "{}", answer.text);
    assert_eq!(problem["status"], answer.status.as_u16(), "{}", answer.text);
    let id = answer.header("x-request-id").expect("an id");
    assert_eq!(problem["request_id"], id, "{}", answer.text);
    let trace = problem["trace_id"].as_str().expect("a trace id");
    assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()));
    for member in ["code", "title", "detail", "type"] {
        let text = problem[member].as_str().unwrap_or_default();
        assert!(!text.is_empty(), "{member}: {}", answer.text);
    }
}

#[tokio::test]
async fn sec_05_every_operation_but_the_public_ones_needs_a_credential() {
    let stranger = Stage::shared().await.stranger();
    let document = Document::of(&stranger).await;
    let mut open = BTreeSet::new();
    for operation in document.operations() {
        let (method, path) = (operation.method(), operation.address());
        let answer = ask(&stranger, &method, &path).await;
        if operation.spec["security"] == json!([]) {
            open.insert((method.to_string(), operation.path.to_owned()));
            let expected = if method == Method::GET { 200 } else { 415 };
            assert_eq!(answer.status, expected, "{method} {path}");
        } else {
            assert_eq!(operation.spec["security"], json!([{"bearer": []}]));
            answer.assert_problem(401, "missing_credential");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
            assert_traceable(&answer, &path);
        }
    }
    let public = PUBLIC.map(|(method, path)| (method.to_owned(), path.to_owned()));
    assert_eq!(open, BTreeSet::from(public));
    for path in PAGES {
        assert_eq!(stranger.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn beh_01_a_wrong_method_is_a_problem_that_names_the_right_ones() {
    let stage = Stage::shared().await;
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in Document::of(&stage.stranger()).await.operations() {
        let methods = allowed.entry(operation.address()).or_default();
        methods.insert(operation.method().to_string());
    }
    for path in PAGES {
        allowed.insert(path.to_owned(), BTreeSet::from(["GET".to_owned()]));
    }
    let clients = [stage.stranger(), stage.admin()];
    for (path, methods) in &mut allowed {
        if methods.contains("GET") {
            methods.insert("HEAD".to_owned());
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "BREW"] {
            if methods.contains(method) {
                continue;
            }
            let method = method.parse().expect("a method");
            for client in &clients {
                let answer = ask(client, &method, path).await;
                answer.assert_problem(405, "method_not_allowed");
                assert_traceable(&answer, path);
                let named = answer.header("allow").unwrap_or_default().split(',');
                let named: BTreeSet<String> = named.map(|name| name.trim().to_owned()).collect();
                assert_eq!(named, *methods, "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn beh_01_an_unknown_path_is_a_problem() {
    let stage = Stage::shared().await;
    for client in [stage.stranger(), stage.admin()] {
        for path in NOWHERE {
            for method in [Method::GET, Method::POST, Method::DELETE] {
                let answer = ask(&client, &method, path).await;
                answer.assert_problem(404, "route_not_found");
                assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            }
        }
        assert_traceable(&client.get("/api/v1/nothing").await, "/api/v1/nothing");
    }
}

#[tokio::test]
async fn beh_01_a_head_request_is_answered_as_its_get() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    for operation in Document::of(&admin).await.operations() {
        if operation.method() != Method::GET {
            continue;
        }
        let path = operation.address();
        let (get, head) = (
            admin.get(&path).await,
            ask(&admin, &Method::HEAD, &path).await,
        );
        assert_eq!((head.status, &*head.text), (get.status, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[tokio::test]
async fn beh_02_every_answer_names_its_request() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    let mut paths: Vec<String> = PAGES
        .iter()
        .chain(&NOWHERE)
        .map(ToString::to_string)
        .collect();
    let document = Document::of(&admin).await;
    paths.extend(
        document
            .operations()
            .iter()
            .map(super::document::Operation::address),
    );
    let mut seen = BTreeSet::new();
    for path in &paths {
        let answer = admin.get(path).await;
        let id = answer.header("x-request-id").expect("an id").to_owned();
        assert!(uuid::Uuid::try_parse(&id).is_ok(), "{path}: {id}");
        assert!(seen.insert(id), "{path} repeats an id");
    }
    let stream = admin
        .streamed_chat("hello")
        .header("x-request-id", "stream-1");
    let answer = stream.send().await.expect("a stream");
    assert_eq!(answer.headers()["x-request-id"], "stream-1");
}

#[tokio::test]
async fn beh_02_a_harmless_request_id_is_kept_and_any_other_replaced() {
    let stranger = Stage::shared().await.stranger();
    let long = "x".repeat(129);
    for (path, status) in [("/health", 200), ("/api/v1/tasks", 401), ("/nothing", 404)] {
        for id in ["abc-1_2.3:4", &long[1..]] {
            let request = stranger
                .request(Method::GET, path)
                .header("x-request-id", id);
            let answer = stranger.send(request).await;
            assert_eq!(answer.status, status);
            assert_eq!(answer.header("x-request-id"), Some(id), "{path}");
            if status != 200 {
                assert_eq!(answer.json["request_id"], id);
            }
        }
        for id in ["", "a b", "a\"b", "<script>", "a,b", "ä", &long] {
            let request = stranger
                .request(Method::GET, path)
                .header("x-request-id", id);
            let answer = stranger.send(request).await;
            let made = answer.header("x-request-id").expect("an id");
            assert!(uuid::Uuid::try_parse(made).is_ok(), "{id} became {made}");
            assert!(
                id.is_empty() || !answer.text.contains(id),
                "{}",
                answer.text
            );
        }
    }
}

#[tokio::test]
async fn obs_02_an_error_belongs_to_the_trace_of_its_caller() {
    let stranger = Stage::shared().await.stranger();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = stranger
        .request(Method::GET, "/api/v1/tasks")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    assert_eq!(stranger.send(request).await.json["trace_id"], trace);
    for broken in [
        "00-0-0-01",
        "ff-4bf9",
        &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
    ] {
        let request = stranger
            .request(Method::GET, "/api/v1/tasks")
            .header("traceparent", broken);
        let answer = stranger.send(request).await;
        assert_traceable(&answer, "/api/v1/tasks");
        assert_ne!(answer.json["trace_id"], "0".repeat(32), "{broken}");
    }
}

#[tokio::test]
async fn beh_01_the_type_of_every_problem_leads_to_its_description() {
    let stage = Stage::shared().await;
    let (admin, stranger) = (stage.admin(), stage.stranger());
    let chat = |body: Value| admin.post("/api/v1/chat", body);
    let task = json!({"type": "no.such.type", "input": {}});
    for (answer, code) in [
        (stranger.get("/api/v1/tasks").await, "missing_credential"),
        (stranger.get("/nothing").await, "route_not_found"),
        (stranger.get("/api/v1/chat").await, "method_not_allowed"),
        (chat(json!({"message": 7})).await, "validation_failed"),
        (chat(json!({"message": "m", "x": 1})).await, "unknown_field"),
        (
            chat(json!({"message": "m", "model": "x"})).await,
            "model_not_found",
        ),
        (admin.get("/api/v1/tasks/7").await, "invalid_id"),
        (
            admin.get(&format!("/api/v1/tasks/{UNKNOWN}")).await,
            "task_not_found",
        ),
        (admin.get("/api/v1/tasks?cursor=7").await, "invalid_cursor"),
        (admin.post("/api/v1/tasks", task).await, "unknown_task_type"),
    ] {
        assert_eq!(answer.json["code"], code, "{}", answer.text);
        let kind = answer.json["type"].as_str().expect("a type");
        let (page, anchor) = kind.split_once('#').expect("an anchor");
        assert_eq!(anchor, code);
        let page = stranger.get(page).await;
        assert_eq!(page.status, 200, "{kind}");
        assert!(page.text.contains(&format!("id=\"{code}\"")), "{kind}");
    }
}
