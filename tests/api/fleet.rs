//! The fleet's own door: Ollama's API and OpenAI's, as their clients find them.

mod ollama;
mod openai;

use chrono::{TimeDelta, Utc};
use reqwest::Method;
use serde_json::json;
use sutazai_auth::{Principal, Role};
use system_tests::{Answer, Stage, newcomer};

use crate::MODEL;

/// An address of each dialect, with a body where it needs one.
const ADDRESSES: [(&str, bool); 6] = [
    ("/api/tags", false),
    ("/api/version", false),
    ("/api/chat", true),
    ("/v1/models", false),
    ("/v1/chat/completions", true),
    ("/v1/embeddings", true),
];

async fn ask(stage: &Stage, path: &str, has_body: bool, headers: &[(&str, &str)]) -> Answer {
    let door = stage.models();
    let mut request = door.request(if has_body { Method::POST } else { Method::GET }, path);
    if has_body {
        request =
            request.json(&json!({"model": MODEL, "messages": [], "input": "a", "stream": false}));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    door.send(request).await
}

/// Fails unless a refusal is said as the caller's dialect says it.
fn assert_refused(answer: &Answer, status: u16, path: &str, code: &str) {
    assert_eq!(answer.status, status, "{path}: {}", answer.text);
    if path.starts_with("/v1/") {
        let error = &answer.json["error"];
        assert_eq!(error["code"], code, "{path}: {}", answer.text);
        assert!(
            error["message"].is_string() && error["type"].is_string(),
            "{}",
            answer.text
        );
    } else {
        assert!(answer.json["error"].is_string(), "{path}: {}", answer.text);
    }
    if status == 401 {
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{path}");
    }
}

#[tokio::test]
async fn sec_01_the_fleets_door_is_open_here_in_dev_but_judges_what_is_sent() {
    let stage = Stage::shared().await;
    let viewer = Principal {
        roles: vec![Role::Viewer],
        ..newcomer()
    };
    let now = Utc::now();
    let bearer = |token: &str| format!("Bearer {token}");
    let good = [
        bearer(stage.admin().credential().expect("a key")),
        bearer(&stage.token(&newcomer(), now)),
    ];
    let viewer = bearer(&stage.token(&viewer, now));
    let expired = bearer(&stage.token(&newcomer(), now - TimeDelta::minutes(6)));
    for (path, has_body) in ADDRESSES {
        let open = ask(stage, path, has_body, &[]).await;
        assert_eq!(open.status, 200, "{path}: {}", open.text);
        for credential in &good {
            let answer = ask(stage, path, has_body, &[("authorization", credential)]).await;
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        }
        for (credential, status, code) in [
            ("Bearer ollama", 401, "invalid_credential"),
            ("Basic dTpw", 401, "invalid_credential"),
            (&*expired, 401, "expired_credential"),
            (&*viewer, 403, "missing_permission"),
        ] {
            let answer = ask(stage, path, has_body, &[("authorization", credential)]).await;
            assert_refused(&answer, status, path, code);
        }
        // A page of somebody else, in a browser on this machine.
        let page = ask(
            stage,
            path,
            has_body,
            &[("origin", "https://elsewhere.example")],
        )
        .await;
        assert_refused(&page, 401, path, "missing_credential");
    }
}

#[tokio::test]
async fn beh_02_answers_of_the_fleet_name_their_request_too() {
    let stage = Stage::shared().await;
    for (path, has_body) in ADDRESSES {
        let answer = ask(stage, path, has_body, &[("x-request-id", "mine-1")]).await;
        assert_eq!(answer.header("x-request-id"), Some("mine-1"), "{path}");
    }
}

#[tokio::test]
async fn api_22_the_two_doors_are_never_mixed() {
    let stage = Stage::shared().await;
    for path in ["/api/tags", "/api/version", "/v1/models"] {
        assert_eq!(
            stage.admin().get(path).await.status,
            404,
            "{path} at the API"
        );
    }
    for path in ["/api/v1/models", "/api/v1/tasks", "/openapi.json"] {
        assert_eq!(
            stage.models().get(path).await.status,
            404,
            "{path} at the fleet"
        );
    }
}
