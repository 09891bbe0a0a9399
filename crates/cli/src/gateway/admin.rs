//! Kong's admin API, as far as a Kong without a database has one.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use sutazai_mesh::http::{Failure, HttpClient};
use sutazai_resilience::{Breakers, Deadline, breaker::Breaker, breaker::CallError};

/// Longest time for one exchange.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// The admin API of a running Kong.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
    http: HttpClient,
    breaker: Breaker,
    proxy_breaker: Breaker,
}

/// A configuration as a Kong gives it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// YAML that the same Kong takes back.
    pub text: String,
}

/// What loading a configuration did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in force.
    New,
    /// It was in force already.
    Same,
}

/// Why a Kong did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody answers there, or not in time.
    #[error("no Kong answers at {url}: is it running, and is this its admin address?")]
    Unreachable {
        /// Where.
        url: String,
        /// Why not.
        source: CallError<Exchange>,
    },
    /// It does not take the configuration.
    #[error("Kong refuses the configuration: {message}; fields: {fields}")]
    Refused {
        /// In its words.
        message: String,
        /// Field by field.
        fields: Value,
    },
    /// It answers something else.
    #[error("{url} answered {status}: is this the admin address of a Kong without a database?")]
    Strange {
        /// Where.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// The configuration that it gives away is no YAML.
    #[error("the loaded configuration can not be read: {0}")]
    Unreadable(String),
}

/// Why an exchange brought no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum Exchange {
    /// No answer, or a broken one.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The answer has no end.
    #[error("the answer is larger than {ANSWER_LIMIT} bytes")]
    Endless,
}

struct Answer {
    url: String,
    status: StatusCode,
    body: Value,
}

impl Admin {
    /// Makes a client for the admin API at `url`; its breaker is `kong-admin`, that of the gateway's
    /// own addresses `kong-proxy`.
    pub fn new(url: &str, http: HttpClient, breakers: &Breakers) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            http,
            breaker: breakers.get("kong-admin"),
            proxy_breaker: breakers.get("kong-proxy"),
        }
    }

    /// Asks an address of the gateway itself.
    ///
    /// # Errors
    /// It does not answer before the deadline.
    pub(crate) async fn ask(
        &self,
        url: &str,
        deadline: Deadline,
    ) -> Result<StatusCode, CallError<Failure>> {
        let request = self.http.request(Method::GET, url);
        let exchange = self.http.send(request);
        let answer = self
            .proxy_breaker
            .call(deadline, |_| true, exchange)
            .await?;
        Ok(answer.status())
    }

    /// Returns what is loaded.
    ///
    /// # Errors
    /// [`Error`].
    pub async fn loaded(&self) -> Result<Loaded, Error> {
        let answer = self.exchange(Method::GET, "/config", None).await?;
        match (answer.status, answer.body["config"].as_str()) {
            (StatusCode::OK, Some(text)) => Ok(Loaded {
                text: text.to_owned(),
            }),
            _ => Err(answer.strange()),
        }
    }

    /// Loads a configuration, unless it is the one that was loaded last.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no good; what was loaded before is in force then.
    pub async fn load(&self, text: &str) -> Result<Taken, Error> {
        let body = json!({ "config": text });
        let answer = self
            .exchange(Method::POST, "/config?check_hash=1", Some(&body))
            .await?;
        match answer.status {
            StatusCode::CREATED => Ok(Taken::New),
            StatusCode::NOT_MODIFIED => Ok(Taken::Same),
            StatusCode::BAD_REQUEST => Err(Error::Refused {
                message: answer.body["message"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                fields: answer.body["fields"].clone(),
            }),
            _ => Err(answer.strange()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Answer, Error> {
        let url = format!("{}{path}", self.url);
        let mut request = self.http.request(method, &url);
        if let Some(body) = body {
            request = request.json(body);
        }
        let exchange = async {
            let mut answer = self.http.send(request).await?;
            let status = answer.status();
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                body.extend_from_slice(&chunk);
                if body.len() > ANSWER_LIMIT {
                    return Err(Exchange::Endless);
                }
            }
            let body = serde_json::from_slice(&body).unwrap_or_default();
            Ok((status, body))
        };
        let deadline = Deadline::after(PATIENCE);
        match self.breaker.call(deadline, |_| true, exchange).await {
            Ok((status, body)) => Ok(Answer { url, status, body }),
            Err(source) => Err(Error::Unreachable { url, source }),
        }
    }
}

impl Answer {
    fn strange(self) -> Error {
        Error::Strange {
            url: self.url,
            status: self.status,
        }
    }
}

impl Loaded {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn document(&self) -> Result<Value, Error> {
        serde_saphyr::from_str(&self.text).map_err(|error| Error::Unreadable(error.to_string()))
    }
}
