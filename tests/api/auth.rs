//! `/api/v1/auth`: log in, who one is, the public keys, and every way not to get in.

mod keys;
mod tokens;

use serde_json::{Value, json};
use system_tests::{Answer, Client, Stage};

const LOGIN: &str = "/api/v1/auth/login";
pub(crate) const ME: &str = "/api/v1/auth/me";

fn password(stage: &Stage) -> String {
    let path = stage.data().join("secrets/admin-password");
    let text = std::fs::read_to_string(path).expect("the password");
    text.trim().to_owned()
}

async fn login(client: &Client, name: &str, password: &str) -> Answer {
    let body = json!({"username": name, "password": password});
    client.post(LOGIN, body).await
}

/// Makes a client with an API key of these scopes.
pub(crate) async fn with_scopes(owner: &Client, scopes: &[&str]) -> Client {
    let body = json!({"name": "narrow", "scopes": scopes});
    let made = owner.post("/api/v1/auth/keys", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    owner.with_credential(made.json["key"].as_str())
}

#[tokio::test]
async fn sec_16_the_right_password_gives_a_token_that_works() {
    let stage = Stage::shared().await;
    let stranger = stage.stranger();
    let password = password(stage);
    let named = login(&stranger, "admin", &password).await;
    let unnamed = stranger.post(LOGIN, json!({"password": password})).await;
    for answer in [named, unnamed] {
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            crate::members(&answer.json),
            ["access_token", "expires_in", "token_type"]
        );
        assert_eq!(answer.json["token_type"], "Bearer");
        let life = answer.json["expires_in"].as_i64();
        assert!(
            life.is_some_and(|life| (290..=300).contains(&life)),
            "{life:?}"
        );
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let client = stranger.with_credential(answer.json["access_token"].as_str());
        let me = client.get(ME).await;
        assert_eq!(
            (me.status.as_u16(), &me.json["roles"]),
            (200, &json!(["admin"]))
        );
        assert_eq!(client.chat("hello").await.status, 200);
    }
}

#[tokio::test]
async fn sec_16_a_wrong_login_tells_not_what_was_wrong() {
    let stage = Stage::shared().await;
    let stranger = stage.stranger();
    let password = password(stage);
    let changed = format!("{}x", &password[1..]);
    let mut bodies = Vec::new();
    for (name, password) in [
        ("admin", &*changed),
        ("admin", &password[1..]),
        ("Admin", &password),
        ("admin ", &password),
        ("nobody", &password),
        ("nobody", "nothing"),
        ("admin\u{0}", &password),
        ("' or 1=1 --", "x"),
    ] {
        let mut answer = login(&stranger, name, password).await;
        answer.assert_problem(401, "invalid_credential");
        assert!(!answer.text.contains(password), "{}", answer.text);
        for own in ["request_id", "trace_id"] {
            answer.json[own] = Value::Null;
        }
        bodies.push(answer.json);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
}

#[tokio::test]
async fn api_04_token_and_api_key_are_the_same_person() {
    let stage = Stage::shared().await;
    let by_key = stage.admin().get(ME).await.json;
    let keys = stage.description().keys.clone();
    let token = sutazai_cli::token::mint(&keys).expect("a token");
    let by_token = stage
        .stranger()
        .with_credential(Some(&token))
        .get(ME)
        .await
        .json;
    for me in [&by_key, &by_token] {
        assert_eq!(
            crate::members(me),
            ["permissions", "roles", "scopes", "subject", "tenant"]
        );
        assert_eq!(me["roles"], json!(["admin"]));
    }
    for same in ["subject", "tenant", "permissions"] {
        assert_eq!(by_key[same], by_token[same]);
    }
    assert_eq!(
        by_token["scopes"],
        Value::Null,
        "a token of a login narrows nothing"
    );
    assert!(
        by_key["scopes"]
            .as_array()
            .is_some_and(|scopes| !scopes.is_empty())
    );
}

#[tokio::test]
async fn api_04_the_published_keys_are_public_ones_of_users_tokens() {
    let stage = Stage::shared().await;
    let stranger = stage.stranger();
    let answer = stranger.get("/api/v1/auth/jwks").await;
    assert_eq!(answer.status, 200);
    let cached = answer.header("cache-control").unwrap_or_default();
    assert!(cached.starts_with("public"), "{cached}");
    assert_eq!(
        stranger.get("/.well-known/jwks.json").await.json,
        answer.json
    );
    let keys = answer.json["keys"].as_array().expect("keys");
    assert_eq!(keys.len(), 1, "only the key of users' tokens: {keys:?}");
    for key in keys {
        for (member, expected) in [
            ("kty", "OKP"),
            ("crv", "Ed25519"),
            ("alg", "EdDSA"),
            ("use", "sig"),
        ] {
            assert_eq!(key[member], expected, "{key}");
        }
        assert!(key["kid"].is_string() && key["x"].is_string(), "{key}");
        for private in ["d", "p", "q", "k"] {
            assert_eq!(key.get(private), None, "a private key is published");
        }
    }
}
