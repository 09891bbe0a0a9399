//! Consul by raw requests: entries, and blocking queries with nothing around them.

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::failure::Failure;

/// How long Consul may hold a query until something changes.
const WAIT: &str = "55s";

/// One agent of Consul; clones share their connections.
#[derive(Clone, Debug)]
pub(crate) struct Consul {
    client: Client<HttpConnector, Full<Bytes>>,
    base: String,
    token: HeaderValue,
}

impl Consul {
    /// Takes the base URL of its API, and the token of whoever asks.
    pub(crate) fn new(base: &str, token: &str) -> Result<Self, Failure> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let token = HeaderValue::from_str(token);
        let unusable = |error| Failure::wrong(format!("Consul's token: {error}"));
        let mut token = token.map_err(unusable)?;
        token.set_sensitive(true);
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            base: base.trim_end_matches('/').to_owned(),
            token,
        })
    }

    /// Enters an instance that has no check, and so passes at once.
    pub(crate) async fn enter(&self, service: &str, id: &str) -> Result<(), Failure> {
        let entry = json!({"Name": service, "ID": id, "Address": "127.0.0.1", "Port": 1});
        let path = "/v1/agent/service/register";
        self.ask(Method::PUT, path, entry.to_string()).await?;
        Ok(())
    }

    /// Takes an instance out.
    pub(crate) async fn leave(&self, id: &str) -> Result<(), Failure> {
        let path = format!("/v1/agent/service/deregister/{id}");
        self.ask(Method::PUT, &path, String::new()).await?;
        Ok(())
    }

    /// Follows how many instances of a service pass, until nobody looks any more or Consul is gone.
    pub(crate) fn follow(&self, service: &str) -> watch::Receiver<usize> {
        let (told, seen) = watch::channel(0);
        let consul = self.clone();
        let path = format!("/v1/health/service/{service}?passing&wait={WAIT}");
        tokio::spawn(async move {
            let mut index = 0;
            while !told.is_closed() {
                let question = format!("{path}&index={index}");
                let Ok((next, answer)) = consul.ask(Method::GET, &question, String::new()).await
                else {
                    return;
                };
                let Ok(entries) = serde_json::from_slice::<Vec<Value>>(&answer) else {
                    return;
                };
                index = next;
                told.send_replace(entries.len());
            }
        });
        seen
    }

    async fn ask(&self, method: Method, path: &str, body: String) -> Result<(u64, Bytes), Failure> {
        let failed = |why: &dyn std::error::Error| Failure::wrong(format!("Consul: {why}"));
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header("x-consul-token", &self.token)
            .body(Full::from(body))
            .map_err(|error| failed(&error))?;
        let answer = self.client.request(request).await;
        let answer = answer.map_err(|error| failed(&error))?;
        let status = answer.status();
        let index = answer.headers().get("x-consul-index");
        let index = index
            .and_then(|index| index.to_str().ok()?.parse().ok())
            .unwrap_or_default();
        let body = answer.into_body().collect().await;
        let body = body.map_err(|error| failed(&error))?.to_bytes();
        if !status.is_success() {
            let said = String::from_utf8_lossy(&body);
            return Err(Failure::wrong(format!("Consul: {status}: {said}")));
        }
        Ok((index, body))
    }
}
