//! `/api/v1/auth/keys`: keys that do less than their owner, and end.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use sutazai_auth::{Permission, api_key::ApiKey};
use system_tests::{Answer, Client, Stage, eventually};
use tokio::time::Instant;

use super::{ME, with_scopes};
use crate::{UNKNOWN, document::Document};

const KEYS: &str = "/api/v1/auth/keys";
/// Longest time that a revoked key may still open a door (SEC-04).
const REVOKED_WITHIN: Duration = Duration::from_secs(1);

async fn make(client: &Client, body: Value) -> Answer {
    client.post(KEYS, body).await
}

fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no {member}: {value}"))
}

/// Returns a key of the list.
async fn listed(client: &Client, id: &str) -> Value {
    let list = client.get(KEYS).await;
    let mut items = list.items().iter();
    items
        .find(|key| key["id"] == id)
        .expect("the key in the list")
        .clone()
}

#[tokio::test]
async fn sec_06_a_key_is_shown_once_and_kept_as_a_hash() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    let made = make(&admin, json!({"name": " shown once "})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let (id, key) = (text(&made.json, "id"), text(&made.json, "key"));
    assert_eq!(made.header("location"), Some(&*format!("{KEYS}/{id}")));
    assert_eq!(made.header("cache-control"), Some("no-store"));
    assert_eq!(made.json["name"], "shown once");
    assert!(
        key.starts_with("sutazai_dev_") && key.len() == "sutazai_dev_".len() + 38,
        "{key}"
    );

    let list = admin.get(KEYS).await;
    // Other tests make keys meanwhile: the order counts, not the place.
    let ids: Vec<&str> = list.items().iter().map(|item| text(item, "id")).collect();
    assert!(
        ids.contains(&id) && ids.is_sorted_by(|a, b| a > b),
        "newest first: {ids:?}"
    );
    let secret = &key[key.len() - 34..];
    assert!(!list.text.contains(secret), "the list holds a key");
    let mut item = made.json.clone();
    item.as_object_mut().expect("an object").remove("key");
    assert_eq!(
        listed(&admin, id).await,
        item,
        "the same in the list and alone"
    );

    let rows = stage
        .query("select k::text from identity.api_keys k where id = $1", id)
        .await;
    assert_eq!(rows.len(), 1);
    assert!(!rows[0].contains(secret), "the database holds a key");
    let hash = "select encode(hash, 'hex') from identity.api_keys where id = $1";
    let bytes = ApiKey::parse(key).expect("a key").hash();
    let expected = format!("{:02x?}", bytes.as_bytes());
    let expected = expected.replace(['[', ']', ',', ' '], "");
    assert_eq!(stage.query(hash, id).await, [expected]);
}

#[tokio::test]
async fn sec_05_a_key_does_exactly_what_its_scopes_allow() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    let document = Document::of(&admin).await;
    for scope in Permission::ALL.map(Permission::as_str) {
        let key = with_scopes(&admin, &[scope]).await;
        assert_eq!(key.get(ME).await.json["permissions"], json!([scope]));
        for operation in document.operations() {
            let Some(needed) = operation.permission() else {
                continue;
            };
            let request = key.request(operation.method(), &operation.address());
            let answer = key.send(request).await;
            if needed == scope {
                assert_ne!(answer.status, 403, "{scope}: {}", operation.id());
                assert_ne!(answer.status, 401, "{scope}: {}", operation.id());
            } else {
                answer.assert_problem(403, "missing_permission");
            }
        }
        let at_the_fleet = stage.models().with_credential(key.credential());
        let expected = if scope == "inference:use" { 200 } else { 403 };
        assert_eq!(
            at_the_fleet.get("/api/tags").await.status,
            expected,
            "{scope}"
        );
    }
}

#[tokio::test]
async fn sec_06_a_key_that_only_reads_submits_nothing() {
    let stage = Stage::shared().await;
    let key = with_scopes(&stage.admin(), &["tasks:read"]).await;
    assert_eq!(key.get("/api/v1/tasks").await.status, 200);
    let task = json!({"type": "llm.generate", "input": {"prompt": "hello"}});
    let refused = key.post("/api/v1/tasks", task).await;
    refused.assert_problem(403, "missing_permission");
    assert!(
        text(&refused.json, "detail").contains("tasks:write"),
        "{}",
        refused.text
    );
    make(&key, json!({"name": "child"}))
        .await
        .assert_problem(403, "missing_permission");
}

#[tokio::test]
async fn sec_06_a_key_never_makes_a_wider_one() {
    let stage = Stage::shared().await;
    let key = with_scopes(&stage.admin(), &["keys:manage", "tasks:read"]).await;
    for scopes in [json!(["chat:use"]), json!(["tasks:read", "system:read"])] {
        let body = json!({"name": "wider", "scopes": scopes});
        make(&key, body)
            .await
            .assert_problem(403, "missing_permission");
    }
    let child = make(&key, json!({"name": "as wide"})).await;
    assert_eq!(child.status, 201, "{}", child.text);
    assert_eq!(child.json["scopes"], json!(["tasks:read", "keys:manage"]));

    let user = stage.newcomer();
    let body = json!({"name": "wider", "scopes": ["system:read"]});
    make(&user, body)
        .await
        .assert_problem(403, "missing_permission");
}

#[tokio::test]
async fn sec_10_names_scopes_and_lives_of_keys_have_bounds() {
    let admin = Stage::shared().await.admin();
    for (body, pointer) in [
        (json!({"name": ""}), "/name"),
        (json!({"name": "n".repeat(101)}), "/name"),
        (json!({"name": "a\u{0}b"}), "/name"),
        (json!({"name": "n", "scopes": ["tasks:*"]}), "/scopes/0"),
        (
            json!({"name": "n", "scopes": ["tasks:read", 7]}),
            "/scopes/1",
        ),
        (
            json!({"name": "n", "expires_in_days": 0}),
            "/expires_in_days",
        ),
        (
            json!({"name": "n", "expires_in_days": 367}),
            "/expires_in_days",
        ),
        (
            json!({"name": "n", "expires_in_days": 1.5}),
            "/expires_in_days",
        ),
        (
            json!({"name": "n", "expires_in_days": -1}),
            "/expires_in_days",
        ),
    ] {
        let answer = make(&admin, body).await;
        answer.assert_problem(400, "validation_failed");
        assert_eq!(
            answer.json["errors"][0]["pointer"], pointer,
            "{}",
            answer.text
        );
    }
    let none = make(&admin, json!({"name": "n", "scopes": []})).await;
    none.assert_problem(400, "validation_failed");
}

#[tokio::test]
async fn sec_06_a_key_has_an_end_and_is_refused_after_it() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    for (body, days) in [
        (json!({"name": "default"}), 90),
        (json!({"name": "short", "expires_in_days": 1}), 1),
        (json!({"name": "long", "expires_in_days": 366}), 366),
    ] {
        let made = make(&admin, body).await;
        let end: DateTime<Utc> = text(&made.json, "expires_at").parse().expect("a time");
        let life = end - Utc::now();
        let day = chrono::TimeDelta::days(days);
        assert!(
            life <= day && life > day - chrono::TimeDelta::minutes(5),
            "{life}"
        );
    }
    let made = make(&admin, json!({"name": "over"})).await;
    let key = admin.with_credential(made.json["key"].as_str());
    assert_eq!(key.get(ME).await.status, 200);
    let expire = "update identity.api_keys set expires_at = now() - interval '1 s' where id = $1
                  returning id::text";
    stage.query(expire, text(&made.json, "id")).await;
    let refused = eventually("the end of the key", async || {
        let answer = key.get(ME).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    refused.assert_problem(401, "expired_credential");
}

#[tokio::test]
async fn sec_04_a_deleted_key_opens_no_door_a_second_later() {
    let stage = Stage::shared().await;
    let admin = stage.admin();
    let made = make(&admin, json!({"name": "revoked"})).await;
    let (id, key) = (text(&made.json, "id"), made.json["key"].as_str());
    let doors = [
        (admin.with_credential(key), ME),
        (stage.models().with_credential(key), "/api/tags"),
    ];
    for (door, path) in &doors {
        assert_eq!(door.get(path).await.status, 200, "{path}");
    }
    let path = format!("{KEYS}/{id}");
    assert_eq!(admin.delete(&path).await.status, 204);
    let deleted = Instant::now();
    for (door, path) in &doors {
        eventually("a closed door", async || {
            (door.get(path).await.status == 401).then_some(())
        })
        .await;
        assert!(
            deleted.elapsed() < REVOKED_WITHIN,
            "{path}: {:?}",
            deleted.elapsed()
        );
    }
    doors[0]
        .0
        .get(ME)
        .await
        .assert_problem(401, "invalid_credential");
    admin
        .delete(&path)
        .await
        .assert_problem(404, "api_key_not_found");
    assert!(listed(&admin, id).await["revoked_at"].is_string());
}

#[tokio::test]
async fn sec_06_keys_of_others_can_neither_be_seen_nor_deleted() {
    let stage = Stage::shared().await;
    let (admin, other) = (stage.admin(), stage.newcomer());
    let made = make(&admin, json!({"name": "mine"})).await;
    assert_eq!(other.get(KEYS).await.items(), [] as [Value; 0]);
    for id in [text(&made.json, "id"), UNKNOWN] {
        let answer = other.delete(&format!("{KEYS}/{id}")).await;
        answer.assert_problem(404, "api_key_not_found");
    }
    let key = admin.with_credential(made.json["key"].as_str());
    assert_eq!(key.get(ME).await.status, 200, "it still works");
}
