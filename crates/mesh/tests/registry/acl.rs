//! The committed policies on a real Consul: each token may do what it is for, and nothing else.

use serde_json::{Value, json};
use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{
    Registry, RegistryError,
    consul::{ConsulRegistry, Settings},
};

use super::running::Running;
use super::stage::{Stage, registry};
use super::waiting::shows;

const MANAGEMENT: &str = "2b0f6f6e-6a52-4c0a-9a55-1c1f0d5a9e77";

/// A Consul with ACLs and tokens of the policies in `consul/acl`.
struct Guarded(Stage);

impl Guarded {
    async fn start() -> Self {
        Self(Stage::with_token(MANAGEMENT).await)
    }

    async fn put(&self, path: &str, body: &Value) -> Value {
        let consul = &self.0.consul;
        let answer = consul
            .request("PUT", path, Some(MANAGEMENT), &body.to_string())
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        serde_json::from_str(&answer.body).unwrap()
    }

    /// Makes a policy of a file's text, and a token of it.
    async fn token(&self, name: &str, rules: &str) -> String {
        let policy = json!({"Name": name, "Rules": rules});
        self.put("/v1/acl/policy", &policy).await;
        let token = json!({"Description": name, "Policies": [{"Name": name}]});
        let made = self.put("/v1/acl/token", &token).await;
        made["SecretID"].as_str().unwrap().to_owned()
    }

    async fn service_token(&self, service: &str) -> String {
        let rules = include_str!("../../../../consul/acl/service.hcl");
        self.token(service, &rules.replace("SERVICE", service))
            .await
    }

    fn registry(&self, token: &str) -> ConsulRegistry {
        registry(Settings {
            token: Some(token.to_owned().into()),
            ..self.0.settings()
        })
    }

    async fn status(&self, method: &str, path: &str, token: &str, body: &str) -> u16 {
        let consul = &self.0.consul;
        let answer = consul.request(method, path, Some(token), body).await;
        answer.unwrap().status
    }
}

#[tokio::test]
async fn a_service_enters_itself_and_no_other_and_finds_all() {
    let consul = Guarded::start().await;
    let backend = consul.registry(&consul.service_token("backend").await);
    let proxy = consul.registry(&consul.service_token("ollama-proxy").await);
    let own = Running::start("ollama-proxy-1", ServiceName::OllamaProxy);
    let lease = proxy.register(own.instance.clone()).await.unwrap();
    let refused = backend.register(own.instance.clone()).await;
    assert!(
        matches!(refused, Err(RegistryError::Refused { .. })),
        "{refused:?}"
    );
    let mut watch = backend.watch(ServiceName::OllamaProxy);
    shows(&mut watch, &[&own.instance]).await;
    assert!(backend.ping().await.is_ok());
    lease.close().await.unwrap();
}

#[tokio::test]
async fn a_service_can_neither_take_another_out_nor_make_tokens() {
    let consul = Guarded::start().await;
    let own = Running::start("ollama-proxy-1", ServiceName::OllamaProxy);
    let proxy = consul.registry(&consul.service_token("ollama-proxy").await);
    let lease = proxy.register(own.instance.clone()).await.unwrap();
    let token = consul.service_token("backend").await;
    let out = "/v1/agent/service/deregister/ollama-proxy-1";
    assert_eq!(consul.status("PUT", out, &token, "").await, 403);
    assert_eq!(
        consul.status("PUT", "/v1/acl/token", &token, "{}").await,
        403
    );
    assert_eq!(consul.status("PUT", "/v1/kv/a", &token, "b").await, 403);
    lease.close().await.unwrap();
}

#[tokio::test]
async fn the_pages_show_everything_and_change_nothing() {
    let consul = Guarded::start().await;
    let own = Running::start("backend-1", ServiceName::Backend);
    let backend = consul.registry(&consul.service_token("backend").await);
    let lease = backend.register(own.instance.clone()).await.unwrap();
    let ui = consul
        .token("ui", include_str!("../../../../consul/acl/ui.hcl"))
        .await;
    for path in [
        "/v1/internal/ui/services",
        "/v1/internal/ui/nodes",
        "/v1/health/service/backend",
    ] {
        let answer = consul
            .0
            .consul
            .request("GET", path, Some(&ui), "")
            .await
            .unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.body.contains("backend"), "{path}: {answer:?}");
    }
    let register = "/v1/agent/service/register";
    let body = r#"{"Name":"backend"}"#;
    assert_eq!(consul.status("PUT", register, &ui, body).await, 403);
    let out = "/v1/agent/service/deregister/backend-1";
    assert_eq!(consul.status("PUT", out, &ui, "").await, 403);
    lease.close().await.unwrap();
}

#[tokio::test]
async fn an_operator_takes_entries_out_and_whoever_enters_nodes_enters_only_them() {
    let consul = Guarded::start().await;
    let node = include_str!("../../../../consul/acl/node.hcl");
    let node = consul.token("node", node).await;
    let register = "/v1/agent/service/register";
    let of = |name: &str| format!(r#"{{"ID":"gpu-1","Name":"{name}","Port":11434}}"#);
    let status = consul.status("PUT", register, &node, &of("backend")).await;
    assert_eq!(status, 403);
    let status = consul.status("PUT", register, &node, &of("ollama")).await;
    assert_eq!(status, 200);

    let operator = include_str!("../../../../consul/acl/operator.hcl");
    let operator = consul.token("operator", operator).await;
    let out = "/v1/agent/service/deregister/gpu-1";
    assert_eq!(consul.status("PUT", out, &operator, "").await, 200);
    let status = consul.status("PUT", "/v1/acl/token", &operator, "{}").await;
    assert_eq!(status, 403);
}
