//! The backend as a process of its own, on a real Postgres and real sockets; no other service runs.
#![expect(clippy::expect_used, reason = "a test may panic")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use backend::Config;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sutazai_auth::{
    api_key::ApiKey,
    keys::{Issuer, SigningKey, write_jwks},
    store,
};
use sutazai_mesh::{catalog::ServiceName, http::HttpClient, registry::memory::MemoryRegistry};
use sutazai_messaging::memory::{Limits, MemoryBroker};
use sutazai_persistence::migrate::migrate;
use sutazai_runtime::{
    Parts, Service, Shutdown, Source, load,
    service::{Addresses, RunError},
};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

const PASSWORD: &str = "correct horse battery";
const PATIENCE: Duration = Duration::from_secs(20);

struct Backend {
    addresses: Addresses,
    key: ApiKey,
    http: HttpClient,
    shutdown: Shutdown,
    run: JoinHandle<Result<(), RunError>>,
    _folder: TempDir,
}

struct Answer {
    status: u16,
    request_id: String,
    body: Value,
}

fn secret_file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).expect("the folder is ours");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("the file is ours");
    path.display().to_string()
}

fn source(folder: &Path, database: &str, key: &ApiKey) -> Source {
    let service = SigningKey::generate().expect("a key can be made");
    let users = SigningKey::generate().expect("a key can be made");
    let jwks = folder.join("jwks.json");
    let published = [
        (
            Issuer::Service(ServiceName::Backend),
            service.public().clone(),
        ),
        (Issuer::Platform, users.public().clone()),
    ];
    write_jwks(&jwks, &published).expect("the folder is ours");
    let file = |name: &str, text: &str| secret_file(folder, name, text);
    Source::from_pairs([
        ("SUTAZAI_PROFILE", "dev"),
        ("HTTP_LISTEN", "127.0.0.1:0"),
        ("GRPC_LISTEN", "127.0.0.1:0"),
        ("DRAIN_GRACE_SECONDS", "5"),
        ("DATABASE_URL", database),
        ("JWKS_FILE", &jwks.display().to_string()),
        (
            "SERVICE_KEY_FILE",
            &file("backend.pem", service.to_pem().expose_secret()),
        ),
        (
            "USER_KEY_FILE",
            &file("users.pem", users.to_pem().expose_secret()),
        ),
        (
            "SECRET_KEY_FILE",
            &file("cursor-key", "f3Zp9vQ1xK7mW2rT8yB4nC6dG5hJ0sLa"),
        ),
        ("ADMIN_PASSWORD_FILE", &file("admin-password", PASSWORD)),
        ("ADMIN_API_KEY_FILE", &file("api-key", key.expose())),
    ])
}

async fn start() -> Backend {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let database = sutazai_servers::scratch::database()
        .await
        .expect("Postgres starts");
    for (schema, migrator) in [
        (backend::SCHEMA, &backend::MIGRATOR),
        (store::SCHEMA, &store::MIGRATOR),
    ] {
        migrate(&database.clone().into(), schema, migrator)
            .await
            .expect("the schema is made");
    }
    let key = ApiKey::generate("dev").expect("the environment is a word");
    let loaded =
        load::<Config>(&source(folder.path(), &database, &key)).expect("complete settings");
    let parts = Parts::new(
        Arc::new(MemoryRegistry::new()),
        Arc::new(MemoryBroker::new(Limits::default())),
    );
    let service = loaded
        .config
        .build(parts)
        .await
        .expect("everything is there");
    let shutdown = Shutdown::new();
    let backend = Backend {
        addresses: service.addresses(),
        key,
        http: HttpClient::external(PATIENCE).expect("a client can be made"),
        run: tokio::spawn(service.run(shutdown.clone())),
        shutdown,
        _folder: folder,
    };
    backend.until_ready().await;
    backend
}

impl Backend {
    async fn until_ready(&self) {
        let begun = Instant::now();
        while self.get("/readyz", None).await.status != 200 {
            assert!(
                begun.elapsed() < PATIENCE,
                "the backend does not become ready"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, path: &str, credential: Option<&str>) -> Answer {
        self.send(http::Method::GET, path, credential, None).await
    }

    async fn send(
        &self,
        method: http::Method,
        path: &str,
        credential: Option<&str>,
        body: Option<Value>,
    ) -> Answer {
        let url = format!("http://{}{path}", self.addresses.http);
        let mut request = self.http.request(method, &url);
        if let Some(credential) = credential {
            request = request.bearer_auth(credential);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = self.http.send(request).await.expect("the backend answers");
        let id = answer
            .headers()
            .get("x-request-id")
            .expect("each answer has an id");
        Answer {
            status: answer.status().as_u16(),
            request_id: id.to_str().expect("the id is a text").to_owned(),
            body: serde_json::from_slice(&answer.bytes().await.expect("the body arrives"))
                .unwrap_or(Value::Null),
        }
    }
}

#[tokio::test]
async fn api_01_health_has_one_answer_under_three_names() {
    let backend = start().await;
    for path in ["/health", "/api/health", "/api/v1/health"] {
        let answer = backend.get(path, None).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.body["status"], "ok", "{path} {}", answer.body);
        assert_eq!(answer.body["services"]["database"], "ok", "{path}");
    }
}

#[tokio::test]
async fn the_administrator_gets_in_with_key_and_password() {
    let backend = start().await;
    let by_key = backend
        .get("/api/v1/auth/me", Some(backend.key.expose()))
        .await;
    assert_eq!(by_key.status, 200);
    let login = json!({ "username": "admin", "password": PASSWORD });
    let login = backend
        .send(http::Method::POST, "/api/v1/auth/login", None, Some(login))
        .await;
    assert_eq!(login.status, 200);
    let token = login.body["access_token"].as_str().expect("a token");
    let by_token = backend.get("/api/v1/auth/me", Some(token)).await;
    assert_eq!(by_token.body["subject"], by_key.body["subject"]);
    assert_eq!(by_token.body["roles"], json!(["admin"]));
}

#[tokio::test]
async fn beh_01_each_error_is_a_problem_document_that_knows_its_request() {
    let backend = start().await;
    let key = Some(backend.key.expose());
    for (method, path, credential, status, code) in [
        ("GET", "/no/such/path", key, 404, "route_not_found"),
        ("GET", "/api/v1/chat", key, 405, "method_not_allowed"),
        ("OPTIONS", "/api/v1/chat", None, 405, "method_not_allowed"),
        ("GET", "/api/v1/tasks", None, 401, "missing_credential"),
        (
            "GET",
            "/api/v1/tasks",
            Some("x.y.z"),
            401,
            "invalid_credential",
        ),
        ("GET", "/api/v1/tasks/7", key, 400, "invalid_id"),
        ("POST", "/api/v1/chat", key, 415, "unsupported_media_type"),
        ("GET", "/api/v1/models", key, 503, "no_live_instance"),
    ] {
        let method = method.parse().expect("a method");
        let Answer {
            status: answered,
            request_id,
            body,
        } = backend.send(method, path, credential, None).await;
        assert_eq!(
            (answered, body["code"].as_str()),
            (status, Some(code)),
            "{path} {body}"
        );
        assert_eq!(body["status"], status, "{path}");
        assert_eq!(body["type"], format!("/docs/errors#{code}"), "{path}");
        assert_eq!(body["instance"], path);
        assert_eq!(body["request_id"], request_id, "{path}");
    }
}

#[tokio::test]
async fn api_10_the_status_sees_the_backend_itself_over_grpc() {
    let backend = start().await;
    let begun = Instant::now();
    let own = loop {
        let answer = backend
            .get("/api/v1/system/status", Some(backend.key.expose()))
            .await;
        assert_eq!(answer.status, 200);
        let services = answer.body["registry"]["services"]
            .as_array()
            .expect("services")
            .clone();
        let own = services
            .into_iter()
            .find(|service| service["name"] == "backend");
        let own = own.expect("the backend is a service")["instances"][0].clone();
        // Registration follows readiness.
        if !own.is_null() || begun.elapsed() > PATIENCE {
            assert_eq!(answer.body["dependencies"][0]["name"], "database");
            assert_eq!(
                answer.body["dependencies"][0]["ok"], true,
                "{}",
                answer.body
            );
            break own;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(own["ready"], true, "{own}");
    assert_eq!(own["grpc"], backend.addresses.grpc.to_string());
}

#[tokio::test]
async fn cfg_14_a_stop_ends_the_process_cleanly() {
    let backend = start().await;
    backend.shutdown.trigger();
    let outcome = tokio::time::timeout(PATIENCE, backend.run).await;
    outcome
        .expect("it ends in time")
        .expect("it does not panic")
        .expect("it ends cleanly");
}
