//! `/api/v1/cache`: what is cached, and an operator's hand on it; over a real Redis.

use std::os::unix::fs::PermissionsExt;

use secrecy::SecretString;
use serde_json::{Value, json};
use sutazai_persistence::{Cache, Redis, cache, redis};
use sutazai_resilience::Breakers;
use sutazai_servers::redis::{Options, Redis as Server};
use sutazai_testkit::ollama::Script;
use system_tests::{Answer, Client, Setup, Stage, eventually};

use crate::{MODEL, members};

const PATH: &str = "/api/v1/cache";

/// A platform whose services share a Redis.
struct Shared {
    stage: Stage,
    server: Server,
    cache: Cache,
    _folder: tempfile::TempDir,
}

impl Shared {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Root runs servers under another account.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
            .expect("its mode");
        let options = Options {
            password: Some("a-generated-password".to_owned()),
            ..Options::new(folder.path().join("redis"))
        };
        let server = Server::start(options).await.expect("a Redis");
        let cache = replica(&server);
        let node = Script::new([MODEL]);
        let stage = Setup::default().node(node).cache(cache.clone());
        let stage = stage.start().await;
        eventually("the cache to hear", async || {
            let status = stage.admin().get(PATH).await.json;
            (status["status"] == "ok").then_some(())
        })
        .await;
        Self {
            stage,
            server,
            cache,
            _folder: folder,
        }
    }

    fn generations(&self) -> usize {
        self.stage.nodes[0].requests_to("/api/chat").len()
    }
}

fn replica(server: &Server) -> Cache {
    let settings = redis::Settings::new(SecretString::from(server.url()));
    let redis = Redis::new(settings, &Breakers::new()).expect("an address");
    Cache::shared(cache::Settings::default(), redis)
}

async fn ask(client: &Client, options: Value, cache: Option<bool>) -> Answer {
    let mut body = json!({"message": "hello", "options": options});
    if let Some(cache) = cache {
        body["cache"] = cache.into();
    }
    let answer = client.post("/api/v1/chat", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer
}

#[tokio::test]
async fn llm_12_cached_is_true_exactly_when_no_model_worked() {
    let shared = Shared::start().await;
    let client = shared.stage.newcomer();
    let cold = json!({"temperature": 0});
    let first = ask(&client, cold.clone(), None).await;
    assert_eq!(
        (&first.json["cached"], shared.generations()),
        (&json!(false), 1)
    );
    let second = ask(&client, cold.clone(), None).await;
    assert_eq!(
        (&second.json["cached"], shared.generations()),
        (&json!(true), 1)
    );
    assert_eq!(second.json["response"], first.json["response"]);
    assert_eq!(second.json["model"], first.json["model"]);
    let cost = json!({"prompt_tokens": 7, "completion_tokens": 3, "duration_ms": 0});
    assert_eq!(second.json["usage"], cost);
    assert_eq!(second.json["stored"], true);

    // The stream of the same question says so, too.
    let request = client.request(reqwest::Method::POST, "/api/v1/chat");
    let body = json!({"message": "hello", "options": cold, "stream": true});
    let stream = client.events(request.json(&body)).await.rest().await;
    assert_eq!(stream.text(), "Hello there");
    let done = stream.events.last().expect("an end").json();
    assert_eq!(done["cached"], true, "{done}");
    assert_eq!(shared.generations(), 1);

    // Sampled answers are made anew, unless the caller wants it otherwise.
    for (cache, generations, cached) in [
        (None, 2, false),
        (None, 3, false),
        (Some(true), 4, false),
        (Some(true), 4, true),
    ] {
        let answer = ask(&client, json!({"temperature": 0.7}), cache).await;
        assert_eq!(
            (shared.generations(), &answer.json["cached"]),
            (generations, &json!(cached))
        );
    }
    let anew = ask(&client, json!({"temperature": 0}), Some(false)).await;
    assert_eq!(
        (&anew.json["cached"], shared.generations()),
        (&json!(false), 5)
    );
    shared.stage.stop().await;
    shared.server.stop().await;
}

#[tokio::test]
async fn api_12_an_operator_sees_and_ends_what_is_cached() {
    let shared = Shared::start().await;
    let admin = shared.stage.admin();
    for _ in 0..3 {
        assert_eq!(admin.get("/api/v1/models").await.status, 200);
    }
    let stats = admin.get(PATH).await.json;
    assert_eq!(
        members(&stats),
        ["local", "namespaces", "shared", "status", "total"]
    );
    let models = namespace(&stats, "models");
    assert_eq!(models["loads"], 1, "{models}");
    assert!(models["hit_ratio"].as_f64() > Some(0.5), "{models}");
    assert_eq!(stats["shared"]["policy"], "allkeys-lru");
    assert_eq!(stats["shared"]["advice"], Value::Null);

    let entry = format!("{PATH}/entries/models:all");
    let ways = [
        (reqwest::Method::DELETE, entry.clone(), Value::Null, 204),
        (reqwest::Method::DELETE, PATH.to_owned(), Value::Null, 204),
        (
            reqwest::Method::POST,
            format!("{PATH}/invalidate"),
            json!({"tag": "models"}),
            200,
        ),
        (
            reqwest::Method::POST,
            format!("{PATH}/invalidate"),
            json!({"namespace": "models"}),
            200,
        ),
        (
            reqwest::Method::POST,
            format!("{PATH}/invalidate"),
            json!({"pattern": "mod*:all"}),
            200,
        ),
    ];
    for (method, path, body, status) in ways {
        assert_eq!(admin.get("/api/v1/models").await.status, 200);
        let before = loads(&admin).await;
        let found = admin.get(&entry).await;
        assert_eq!(found.json["tags"], json!(["models"]), "{}", found.text);
        assert!(found.json["expires_in_ms"].as_u64() > Some(0));
        assert!(found.json["local_bytes"].as_u64() > Some(0));
        let mut request = admin.request(method, &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = admin.send(request).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        if body["pattern"].is_string() {
            assert_eq!(answer.json["deleted"], 1);
        }
        assert_eq!(admin.get("/api/v1/models").await.status, 200);
        assert_eq!(loads(&admin).await, before + 1, "{path} {body}");
    }
    admin
        .post(&format!("{PATH}/invalidate"), json!({}))
        .await
        .assert_problem(400, "validation_failed");
    shared.stage.stop().await;
    shared.server.stop().await;
}

fn namespace<'a>(stats: &'a Value, name: &str) -> &'a Value {
    let mut all = stats["namespaces"].as_array().into_iter().flatten();
    all.find(|one| one["name"] == name).unwrap_or(&Value::Null)
}

async fn loads(admin: &Client) -> u64 {
    let stats = admin.get(PATH).await.json;
    namespace(&stats, "models")["loads"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn cch_02_what_another_replica_ends_is_ended_here() {
    let shared = Shared::start().await;
    let admin = shared.stage.admin();
    assert_eq!(admin.get("/api/v1/agents").await.status, 200);
    let other = replica(&shared.server);
    let entry = format!("{PATH}/entries/agents:live");
    assert_eq!(admin.get(&entry).await.status, 200);
    other.clear().await.expect("Redis is there");
    eventually("the entry to end", async || {
        let bytes = shared.cache.local_bytes("agents", "live");
        bytes.is_none().then_some(())
    })
    .await;
    shared.stage.stop().await;
    shared.server.stop().await;
}

#[tokio::test]
async fn cch_12_without_redis_the_platform_goes_on_and_says_degraded() {
    let shared = Shared::start().await;
    let admin = shared.stage.admin();
    eventually("redis to be seen", async || {
        let health = admin.get("/health").await.json;
        (health["services"]["redis"] == "ok").then_some(())
    })
    .await;
    shared.server.stop().await;
    eventually("the loss to be told", async || {
        let health = admin.get("/health").await;
        assert_eq!(health.status, 200, "{}", health.text);
        (health.json["status"] == "degraded").then_some(())
    })
    .await;
    assert_eq!(admin.get(PATH).await.json["status"], "degraded");
    for _ in 0..20 {
        assert_eq!(admin.get("/api/v1/models").await.status, 200);
        assert_eq!(admin.chat("hello").await.status, 200);
    }
    let owed = admin
        .post(&format!("{PATH}/invalidate"), json!({"tag": "models"}))
        .await;
    owed.assert_problem(503, "redis_unavailable");
    assert_eq!(
        admin.get(PATH).await.json["shared"]["owed_invalidations"],
        1
    );
    shared.stage.stop().await;
}

#[tokio::test]
async fn api_12_the_cache_is_for_administrators() {
    let stage = Stage::shared().await;
    let newcomer = stage.newcomer();
    newcomer
        .get(PATH)
        .await
        .assert_problem(403, "missing_permission");
    let request = newcomer.request(reqwest::Method::DELETE, PATH);
    let answer = newcomer.send(request).await;
    answer.assert_problem(403, "missing_permission");
    let admin = stage.admin();
    // Without a Redis the cache is this process's own.
    let stats = admin.get(PATH).await.json;
    assert_eq!(
        (&stats["status"], &stats["shared"]),
        (&json!("local"), &Value::Null)
    );
}
