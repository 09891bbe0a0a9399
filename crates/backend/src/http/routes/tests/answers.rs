//! What the API answers while no other service runs.

use super::*;

#[tokio::test]
async fn beh_01_a_service_that_does_not_run_is_a_problem_document() {
    let api = api().await;
    let admin = api.login().await;
    let chat = serde_json::json!({ "message": "hello" });
    let task = serde_json::json!({ "type": "llm.generate", "input": {} });
    for (path, body) in [
        ("/api/v1/chat", Some(&chat)),
        ("/api/v1/tasks", Some(&task)),
        ("/api/v1/models", None),
        ("/api/v1/agents", None),
        ("/api/v1/agents/automation-agent", None),
        ("/api/v1/tasks", None),
        (&format!("/api/v1/tasks/{ID}"), None),
        (&format!("/api/v1/tasks/{ID}/events"), None),
    ] {
        let (status, problem) = match body {
            Some(body) => api.post(path, &admin, body).await,
            None => api.get(path, &admin).await,
        };
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path} {problem}");
        assert_eq!(problem["code"], "no_live_instance", "{path}");
    }
}

#[tokio::test]
async fn sec_10_ids_cursors_and_parameters_are_judged_before_anything_is_asked() {
    let api = api().await;
    let admin = api.login().await;
    for (path, code) in [
        ("/api/v1/tasks/7", "invalid_id"),
        ("/api/v1/tasks/%ff", "invalid_id"),
        ("/api/v1/tasks/7/events", "invalid_id"),
        ("/api/v1/agents/No_Name", "invalid_id"),
        ("/api/v1/chat/conversations/7", "invalid_id"),
        ("/api/v1/chat/conversations?cursor=AAAA", "invalid_cursor"),
        ("/api/v1/tasks?cursor=AAAA", "invalid_cursor"),
        ("/api/v1/tasks?state=lost", "validation_failed"),
        ("/api/v1/tasks?limit=0", "validation_failed"),
        ("/api/v1/tasks?limit=101", "validation_failed"),
        ("/api/v1/tasks?sort=id", "unknown_field"),
        (
            "/api/v1/chat/conversations?limit=1&limit=2",
            "validation_failed",
        ),
    ] {
        let (status, problem) = api.get(path, &admin).await;
        assert_eq!(
            (status, problem["code"].as_str()),
            (StatusCode::BAD_REQUEST, Some(code)),
            "{path}"
        );
    }
    let (status, problem) = api
        .get(&format!("/api/v1/chat/conversations/{ID}"), &admin)
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(problem["code"], "conversation_not_found");
}

#[tokio::test]
async fn api_02_the_pages_ask_for_nothing_from_elsewhere() {
    let api = api().await;
    for path in [
        "/docs/",
        "/docs/swagger-initializer.js",
        "/redoc",
        "/redoc/script.js",
        "/redoc/style.css",
        "/docs/errors",
    ] {
        let response = api.send(Request::get(path), "").await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        assert!(policy.starts_with("default-src 'self'"), "{path}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            !text.contains("src=\"http") && !text.contains("href=\"http"),
            "{path}"
        );
    }
    let initializer = api
        .send(Request::get("/docs/swagger-initializer.js"), "")
        .await;
    let body = initializer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&body).contains("/openapi.json"));
    assert_eq!(
        api.send(Request::get("/docs/no-such-file"), "")
            .await
            .status(),
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn every_answer_carries_the_security_headers() {
    let api = api().await;
    for (path, status) in [
        ("/openapi.json", StatusCode::OK),
        ("/api/v1/models", StatusCode::UNAUTHORIZED),
        ("/no/such/path", StatusCode::NOT_FOUND),
        ("/api/v1/chat", StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let response = api.send(Request::get(path), "").await;
        assert_eq!(response.status(), status, "{path}");
        let headers = response.headers();
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        assert_eq!(headers[header::REFERRER_POLICY], "no-referrer", "{path}");
        assert_eq!(headers[header::CACHE_CONTROL], "no-store", "{path}");
        let policy = headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{path}");
    }
    let response = api.send(Request::get("/api/v1/chat"), "").await;
    assert_eq!(response.headers()[header::ALLOW], "POST");
}

#[tokio::test]
async fn the_status_tells_what_is_missing() {
    let api = api().await;
    let admin = api.login().await;
    let (status, body) = api.get("/api/v1/system/status", &admin).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(body["status"], "degraded");
    assert_eq!(
        body["registry"]["services"].as_array().map(Vec::len),
        Some(5)
    );
    assert!(body["resources"]["memory_bytes"].as_u64().is_some());
}
