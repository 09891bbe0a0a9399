//! Starts the service on free ports, with keys of its own.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc, time::Duration};

use bytes::Bytes;
use chrono::Utc;
use http::{Method, StatusCode};
use ollama_proxy::Config;
use reqwest::{RequestBuilder, Response};
use secrecy::ExposeSecret;
use serde_json::Value;
use sutazai_auth::{
    Identity, Principal, Role,
    keys::{Issuer, SigningKey, write_jwks},
    token::issue_user,
};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
    http::HttpClient,
    registry::{Registry, memory::MemoryRegistry},
};
use sutazai_messaging::memory::{Limits, MemoryBroker};
use sutazai_proto::{
    inference::v1::inference_client::InferenceClient,
    platform::v1::diagnostics_client::DiagnosticsClient,
};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_runtime::{Parts, Service as _, Shutdown, Source, load};
use sutazai_testkit::ollama::{FakeNode, Script};
use tempfile::TempDir;
use tokio::{task::JoinHandle, time::Instant};

pub(crate) const MODEL: &str = "tinyllama:latest";

/// Longest time that a test waits for something to happen.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) struct Proxy {
    url: String,
    client: HttpClient,
    mesh: Mesh,
    backend: Identity,
    users: SigningKey,
    shutdown: Shutdown,
    running: JoinHandle<()>,
    _keys: TempDir,
}

pub(crate) fn script() -> Script {
    Script::new([MODEL])
}

impl Proxy {
    /// Starts the proxy in the profile `dev` and waits until it is registered.
    pub(crate) async fn start(nodes: &[&FakeNode], settings: &[(&str, &str)]) -> Self {
        let keys = tempfile::tempdir().unwrap();
        let (own, backend, users) = (
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
            SigningKey::generate().unwrap(),
        );
        let (own_file, jwks_file) = (keys.path().join("own.pem"), keys.path().join("jwks.json"));
        fs::write(&own_file, own.to_pem().expose_secret()).unwrap();
        fs::set_permissions(&own_file, fs::Permissions::from_mode(0o600)).unwrap();
        let published = [
            (
                Issuer::Service(ServiceName::OllamaProxy),
                own.public().clone(),
            ),
            (
                Issuer::Service(ServiceName::Backend),
                backend.public().clone(),
            ),
            (Issuer::Platform, users.public().clone()),
        ];
        write_jwks(&jwks_file, &published).unwrap();

        let urls: Vec<_> = nodes.iter().map(|node| node.url()).collect();
        let mut source = Source::from_pairs([
            ("SUTAZAI_PROFILE", "dev"),
            ("HTTP_LISTEN", "127.0.0.1:0"),
            ("GRPC_LISTEN", "127.0.0.1:0"),
            ("DRAIN_GRACE_SECONDS", "2"),
        ])
        .with("OLLAMA_URLS", urls.join(","))
        .with("SERVICE_KEY_FILE", own_file.to_str().unwrap())
        .with("JWKS_FILE", jwks_file.to_str().unwrap());
        for (name, value) in settings {
            source = source.with(*name, *value);
        }

        let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
        let broker = Arc::new(MemoryBroker::new(Limits { queue_length: 8 }));
        let parts = Parts::new(registry.clone(), broker);
        let service = load::<Config>(&source)
            .unwrap()
            .config
            .build(parts)
            .await
            .unwrap();
        let url = format!("http://{}", service.addresses().http);
        let shutdown = Shutdown::new();
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { service.run(shutdown).await.unwrap() }
        });
        let mut watch = registry.watch(ServiceName::OllamaProxy);
        while watch.current().is_empty() {
            tokio::time::timeout(SOON, watch.changed()).await.unwrap();
        }
        let identity =
            Identity::from_files(ServiceName::OllamaProxy, &own_file, &jwks_file).unwrap();
        Self {
            url,
            client: HttpClient::ollama(SOON).unwrap(),
            mesh: Mesh::new(ServiceName::Backend, registry, Breakers::new()),
            backend: Identity::new(
                ServiceName::Backend,
                backend,
                identity.verifier().keys().clone(),
            ),
            users,
            shutdown,
            running,
            _keys: keys,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn send(&self, request: RequestBuilder) -> Response {
        self.client.send(request).await.unwrap()
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, Value) {
        let response = self.send(self.request(Method::GET, path)).await;
        (response.status(), response.json().await.unwrap())
    }

    /// A token of a user with these roles.
    pub(crate) fn token(&self, roles: &[Role]) -> String {
        let principal = Principal {
            subject: "ada".into(),
            tenant: "default".into(),
            roles: roles.to_vec(),
            scopes: None,
        };
        issue_user(&self.users, &principal, Utc::now())
            .unwrap()
            .token
    }

    pub(crate) fn inference(&self) -> InferenceClient<Edge> {
        InferenceClient::new(self.mesh.channel(ServiceName::OllamaProxy))
    }

    pub(crate) fn diagnostics(&self) -> DiagnosticsClient<Edge> {
        DiagnosticsClient::new(self.mesh.channel(ServiceName::OllamaProxy))
    }

    /// A request of the backend, with its credential.
    pub(crate) fn as_backend<T>(&self, message: T) -> tonic::Request<T> {
        let deadline = Deadline::after(SOON);
        self.backend
            .request(ServiceName::OllamaProxy, None, deadline, message)
            .unwrap()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(SOON, self.running)
            .await
            .unwrap()
            .unwrap();
    }
}

/// Reads an answer to its end: what came, and whether the end was regular.
pub(crate) async fn read(mut response: Response) -> (Bytes, bool) {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body.into(), true),
            Err(_) => return (body.into(), false),
        }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
