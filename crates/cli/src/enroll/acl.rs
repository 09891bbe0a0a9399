//! The part of Consul's HTTP API that policies and tokens are made with.

use std::time::Duration;

use http::{Method, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sutazai_mesh::http::{Failure, HttpClient};
use sutazai_resilience::{
    Breakers, Deadline,
    breaker::{Breaker, CallError},
};

/// Longest time for one exchange.
const PATIENCE: Duration = Duration::from_secs(10);
/// What Consul takes for the token of whoever has none.
const ANONYMOUS: &str = "00000000-0000-0000-0000-000000000002";
/// Header with the token of whoever asks.
const TOKEN: &str = "X-Consul-Token";

/// Why Consul did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there, or not in time.
    #[error("no Consul answers at {url}")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        source: CallError<Failure>,
    },
    /// It says no.
    #[error("{url} answers {status}: {text}")]
    Refused {
        /// Where.
        url: String,
        /// The status.
        status: StatusCode,
        /// In its words.
        text: String,
    },
}

/// What was not there before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enrolled {
    /// The policy is new, or has new rules.
    pub(super) policy: bool,
    /// The token is new.
    pub(super) token: bool,
}

/// A Consul, and the token that may do everything there.
pub(super) struct Consul {
    address: String,
    management: SecretString,
    http: HttpClient,
    breaker: Breaker,
}

struct Answer {
    url: String,
    status: StatusCode,
    text: String,
}

impl Consul {
    pub(super) fn new(address: &str, management: SecretString) -> Result<Self, Failure> {
        Ok(Self {
            address: address.trim_end_matches('/').to_owned(),
            management,
            http: HttpClient::external(PATIENCE)?,
            breaker: Breakers::new().get("consul-acl"),
        })
    }

    /// Makes the policy `name` with these rules, and a token of it.
    pub(super) async fn enroll(
        &self,
        name: &str,
        rules: &str,
        token: &SecretString,
    ) -> Result<Enrolled, Error> {
        Ok(Enrolled {
            policy: self.policy(name, rules).await?,
            token: self.token(name, token).await?,
        })
    }

    /// Gives the policy, and no other, to whoever has no token.
    pub(super) async fn give_to_all(&self, name: &str) -> Result<(), Error> {
        let path = format!("/v1/acl/token/{ANONYMOUS}");
        let known = self.exchange(Method::GET, &path, &self.management, None);
        let known = known.await?.document()?;
        let policies = known["Policies"].as_array().map_or(&[][..], Vec::as_slice);
        if matches!(policies, [only] if only["Name"] == name) {
            return Ok(());
        }
        let wanted = json!({
            "Description": "whoever has no token",
            "Policies": [{"Name": name}],
        });
        let made = self.exchange(Method::PUT, &path, &self.management, Some(&wanted));
        made.await?.document().map(drop)
    }

    async fn policy(&self, name: &str, rules: &str) -> Result<bool, Error> {
        let path = format!("/v1/acl/policy/name/{name}");
        let known = self.exchange(Method::GET, &path, &self.management, None);
        let known = known.await?;
        let wanted = json!({"Name": name, "Description": "of `sutazai enroll`", "Rules": rules});
        let path = if known.status == StatusCode::NOT_FOUND {
            "/v1/acl/policy".to_owned()
        } else {
            let known = known.document()?;
            if known["Rules"] == rules {
                return Ok(false);
            }
            let id = known["ID"].as_str().unwrap_or_default();
            format!("/v1/acl/policy/{id}")
        };
        let made = self.exchange(Method::PUT, &path, &self.management, Some(&wanted));
        made.await?.document()?;
        Ok(true)
    }

    /// A token says itself whether it is known.
    async fn token(&self, name: &str, token: &SecretString) -> Result<bool, Error> {
        let known = self.exchange(Method::GET, "/v1/acl/token/self", token, None);
        let known = known.await?;
        if known.status != StatusCode::FORBIDDEN {
            known.document()?;
            return Ok(false);
        }
        let wanted = json!({
            "SecretID": token.expose_secret(),
            "Description": name,
            "Policies": [{"Name": name}],
        });
        let made = self.exchange(
            Method::PUT,
            "/v1/acl/token",
            &self.management,
            Some(&wanted),
        );
        made.await?.document()?;
        Ok(true)
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: &SecretString,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.address);
        let request = self.http.request(method, &url);
        let mut request = request.header(TOKEN, token.expose_secret());
        if let Some(body) = body {
            request = request.json(body);
        }
        let exchange = async {
            let answer = self.http.send(request).await?;
            Ok((answer.status(), answer.text().await?))
        };
        let deadline = Deadline::after(PATIENCE);
        match self.breaker.call(deadline, |_| true, exchange).await {
            Ok((status, text)) => Ok(Answer { url, status, text }),
            Err(source) => Err(Error::Unreachable { url, source }),
        }
    }
}

impl Answer {
    fn document(self) -> Result<Value, Error> {
        let Self { url, status, text } = self;
        match serde_json::from_str(&text) {
            Ok(document) if status.is_success() => Ok(document),
            _ => Err(Error::Refused { url, status, text }),
        }
    }
}
