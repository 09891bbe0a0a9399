//! A router over a real database; no other service runs.

use axum::{body::Body, response::Response};
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::Value;
use sutazai_auth::{
    Identity,
    keys::{Issuer, PublishedKey, SigningKey},
    store::{self, Keys},
};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Mesh,
    registry::{Registry, memory::MemoryRegistry},
};
use sutazai_persistence::{
    limit::Limiter,
    migrate::migrate,
    postgres::{Database, Settings},
};
use sutazai_resilience::Breakers;
use sutazai_runtime::config::Profile;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::*;
use crate::http::Rates;
use crate::{MIGRATOR, SCHEMA};

mod answers;
mod document;
mod doors;

const ID: &str = "0198c0de-0000-7000-8000-000000000000";

/// The API over a real database, with the administrator's account; no other service runs.
struct Api {
    router: Router,
    accounts: Accounts,
}

async fn database(schema: &'static str, migrator: &sqlx::migrate::Migrator) -> Database {
    let url = sutazai_servers::scratch::database().await.unwrap().into();
    migrate(&url, schema, migrator).await.unwrap();
    let settings = Settings {
        pool_min: 1,
        pool_max: 4,
        ..Settings::new(url, schema, "test")
    };
    Database::connect(&settings, &Breakers::new())
        .await
        .unwrap()
}

async fn api() -> Api {
    let service_key = SigningKey::generate().unwrap();
    let user_key = SigningKey::generate().unwrap();
    let published = |issuer, key: &SigningKey| PublishedKey {
        issuer,
        key: key.public().clone(),
    };
    let set = KeySet::fixed([
        published(Issuer::Platform, &user_key),
        published(Issuer::Service(ServiceName::Backend), &service_key),
    ]);
    let identity = Identity::new(ServiceName::Backend, service_key, set.clone());
    let identities = database(store::SCHEMA, &store::MIGRATOR).await;
    let own = database(SCHEMA, &MIGRATOR).await;
    let keys = Keys::new(identities.clone());
    let accounts = Accounts::new(
        store::Accounts::new(identities),
        keys.clone(),
        user_key,
        "dev",
    );
    accounts
        .ensure_admin(&"correct horse battery".into(), None)
        .await
        .unwrap();
    let registry = Arc::new(MemoryRegistry::new());
    let mesh = Mesh::new(ServiceName::Backend, registry.clone(), Breakers::new());
    let limits = Limits::new(
        Limiter::new(None),
        Rates::default(),
        registry.watch(ServiceName::Backend),
    );
    let peers = Peers::new(mesh, identity.clone());
    let conversations = Conversations::new(own.clone());
    let router = router(Parts {
        accounts: accounts.clone(),
        authenticator: Authenticator::new(identity.verifier().clone(), Some(keys)),
        cache: Cache::local(sutazai_persistence::cache::Settings::default()),
        chat: Chat::new(peers.clone(), conversations.clone(), TaskTracker::new()),
        conversations,
        cursors: Cursors::new(&"a secret key of thirty-two characters".into()),
        facts: system::Facts {
            version: "0.0.0",
            profile: Profile::Dev,
            instance_id: "backend-test".to_owned(),
            started_at: chrono::Utc::now(),
            started: std::time::Instant::now(),
        },
        keys: Arc::new(set),
        limits,
        origins: AllowedOrigins::default(),
        peers: peers.clone(),
        system: System::new(peers, own, Arc::new([])),
        stopping: CancellationToken::new(),
    });
    Api {
        router: router.unwrap(),
        accounts,
    }
}

impl Api {
    async fn send(&self, request: http::request::Builder, body: impl Into<Body>) -> Response {
        self.router
            .clone()
            .oneshot(request.body(body.into()).unwrap())
            .await
            .unwrap()
    }

    async fn get(&self, path: &str, credential: &str) -> (StatusCode, Value) {
        let request = Request::get(path).header(header::AUTHORIZATION, credential);
        answer(self.send(request, "").await).await
    }

    async fn post(&self, path: &str, credential: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post(path)
            .header(header::AUTHORIZATION, credential)
            .header(header::CONTENT_TYPE, "application/json");
        answer(self.send(request, body.to_string()).await).await
    }

    async fn login(&self) -> String {
        let token = self
            .accounts
            .login("admin", &"correct horse battery".into())
            .await
            .unwrap();
        format!("Bearer {}", token.token)
    }

    async fn document(&self) -> Value {
        let response = self.send(Request::get("/openapi.json"), "").await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        answer(response).await.1
    }
}

async fn answer(response: Response) -> (StatusCode, Value) {
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Every operation of the document, with its path and method.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let methods = paths.iter().flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (method.as_str(), path.as_str(), operation))
    });
    methods.collect()
}
