//! Who may use the door.

use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use sutazai_auth::Role;
use sutazai_testkit::ollama::FakeNode;

use crate::harness::{MODEL, Proxy, script};

async fn status(proxy: &Proxy, path: &str, headers: &[(&str, &str)]) -> StatusCode {
    let mut request = proxy.request(Method::GET, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    proxy.send(request).await.status()
}

#[tokio::test]
async fn sec_01_this_machine_needs_no_credential_in_dev_but_one_that_is_sent_is_judged() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let (user, viewer) = (
        bearer(&proxy.token(&[Role::User])),
        bearer(&proxy.token(&[Role::Viewer])),
    );
    let tampered = format!("{}x", &user[..user.len() - 1]);
    for path in ["/", "/api/tags", "/v1/models"] {
        for (headers, expected) in [
            (&[][..], 200),
            (&[("authorization", user.as_str())], 200),
            (&[("authorization", viewer.as_str())], 403),
            (&[("authorization", tampered.as_str())], 401),
            (&[("authorization", "Bearer ollama")], 401),
            (&[("authorization", "Basic dTpw")], 401),
            // A page of somebody else in this machine's browser.
            (&[("origin", "https://evil.example")], 401),
            (&[("host", "evil.example")], 401),
            (
                &[
                    ("origin", "https://evil.example"),
                    ("authorization", user.as_str()),
                ],
                200,
            ),
        ] {
            assert_eq!(
                status(&proxy, path, headers).await,
                expected,
                "{path} {headers:?}"
            );
        }
    }
    proxy.stop().await;
}

#[tokio::test]
async fn sec_01_production_needs_a_credential_and_says_so_in_the_dialect() {
    let node = FakeNode::start(script()).await;
    let settings = [
        ("SUTAZAI_PROFILE", "production"),
        ("DEREGISTER_PAUSE_SECONDS", "0"),
    ];
    let proxy = Proxy::start(&[&node], &settings).await;
    for path in [
        "/",
        "/api/version",
        "/api/tags",
        "/api/ps",
        "/v1/models",
        "/v1/models/x",
    ] {
        assert_eq!(status(&proxy, path, &[]).await, 401, "{path}");
    }
    for path in [
        "/api/chat",
        "/api/show",
        "/v1/chat/completions",
        "/v1/embeddings",
    ] {
        let response = proxy.post(path, &json!({"model": MODEL})).await;
        assert_eq!(response.status(), 401, "{path}");
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
        let error: Value = response.json().await.unwrap();
        let words = if path.starts_with("/v1") {
            &error["error"]["message"]
        } else {
            &error["error"]
        };
        assert!(words.is_string(), "{path}: {error}");
    }
    assert!(
        node.requests().iter().all(|seen| seen.method == "GET"),
        "nobody got through"
    );
    proxy.stop().await;
}

#[tokio::test]
async fn sec_01_credentials_of_callers_do_not_reach_a_node() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let request = proxy
        .request(Method::POST, "/api/chat")
        .bearer_auth(proxy.token(&[Role::User]))
        .header("cookie", "session=1")
        .json(&json!({"model": MODEL}));
    assert_eq!(proxy.send(request).await.status(), 200);
    let seen = node.requests_to("/api/chat");
    assert_eq!(
        (seen[0].header("authorization"), seen[0].header("cookie")),
        (None, None)
    );
    proxy.stop().await;
}
