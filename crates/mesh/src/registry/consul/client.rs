//! The one way in which requests reach Consul: with a deadline, a breaker and a metric.

use std::{error::Error, time::Duration};

use consulrs::{
    api::{self, ApiResponse, check, features::FeaturedEndpoint, service::requests},
    client::{ConsulClient, ConsulClientSettings},
    error::ClientError,
};
use consulrs_reqwest as reqwest;
use metrics::counter;
use rustify::endpoint::Endpoint;
use sutazai_resilience::{
    Breakers,
    backoff::Backoff,
    breaker::{self, Breaker, CallError},
    deadline::Deadline,
};
use sutazai_telemetry::names;
use tracing::{Instrument, info_span};

use super::{
    KIND, Settings, StartError,
    endpoints::{AgentService, EnteredInstances, Entry, Leader, PassingInstances, Service},
};
use crate::registry::RegistryError;

const CONNECT_LIMIT: Duration = Duration::from_secs(2);
/// Longest time for a request that Consul answers at once.
const LIMIT: Duration = Duration::from_secs(3);
/// How long Consul may hold a request until something changes; it adds up to a sixteenth itself.
const WAIT: Duration = Duration::from_secs(55);
/// Longest time for a request that Consul holds.
const WAIT_LIMIT: Duration = Duration::from_secs(65);
/// How often the kernel asks on a quiet connection whether Consul is still there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// Outcomes of requests that Consul did not answer.
const TIMEOUT: &str = "timeout";
const FAILED: &str = "failed";
/// Consul is tried again soon: an instance has to be back 15 s after it.
const BREAKER: breaker::Settings = breaker::Settings {
    consecutive_failures: 5,
    open_for: Backoff {
        min: Duration::from_secs(1),
        max: Duration::from_secs(4),
    },
};

/// What a Consul says that starts and has not read its tokens yet: nobody is refused for good.
const STARTING: &str = "ACL system must be bootstrapped";

/// Speaks with one agent of Consul.
pub(super) struct Client {
    consul: ConsulClient,
    breaker: Breaker,
    /// For the instances themselves: whether they still answer.
    pub(super) http: reqwest::Client,
}

/// The passing instances at one moment.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) index: u64,
    pub(super) entries: Vec<Entry>,
}

impl Client {
    pub(super) fn new(settings: &Settings, breakers: &Breakers) -> Result<Self, StartError> {
        let address = settings.base()?;
        let token = settings.plain_token()?;
        let http = http_client()?;
        // Everything is said: what is left out, consulrs takes from CONSUL_* variables.
        let said = ConsulClientSettings {
            address: address.clone(),
            ca_certs: Vec::new(),
            client_cert: None,
            client_key: None,
            token,
            verify: true,
            version: 1,
        };
        Ok(Self {
            consul: ConsulClient {
                http: rustify::clients::reqwest::Client::new(&address, http.clone()),
                settings: said,
            },
            breaker: breakers.get_with("consul", BREAKER),
            http,
        })
    }

    /// Asks who passes; with `beyond`, Consul answers when its index is greater.
    pub(super) async fn passing(
        &self,
        service: &str,
        beyond: Option<u64>,
    ) -> Result<Passing, RegistryError> {
        let endpoint = PassingInstances {
            service: service.to_owned(),
            beyond,
            wait: format!("{}s", WAIT.as_secs()),
        };
        let limit = if beyond.is_some() { WAIT_LIMIT } else { LIMIT };
        let answer = self.ask("passing", limit, endpoint).await?;
        Ok(Passing {
            index: answer
                .index
                .and_then(|text| text.parse().ok())
                .unwrap_or_default(),
            entries: answer.response,
        })
    }

    /// Lists the instances of a service, whatever their checks say.
    pub(super) async fn entered(&self, service: &str) -> Result<Vec<Entry>, RegistryError> {
        let endpoint = EnteredInstances {
            service: service.to_owned(),
        };
        Ok(self.ask("entered", LIMIT, endpoint).await?.response)
    }

    /// Returns an entry of the agent, if it has it.
    pub(super) async fn entry(&self, id: &str) -> Result<Option<Service>, RegistryError> {
        let endpoint = AgentService { id: id.to_owned() };
        let asked = api::exec_with_result(&self.consul, endpoint);
        match self.call("entry", LIMIT, asked).await {
            Ok(answer) => Ok(Some(answer.response)),
            Err(CallError::Inner(ClientError::APIError { code: 404, .. })) => Ok(None),
            Err(error) => Err(judged(error)),
        }
    }

    pub(super) async fn register(
        &self,
        request: requests::RegisterServiceRequest,
    ) -> Result<(), RegistryError> {
        let asked = api::exec_with_empty(&self.consul, request);
        let answer = self.call("register", LIMIT, asked).await;
        answer.map(drop).map_err(judged)
    }

    pub(super) async fn deregister(&self, id: &str) -> Result<(), RegistryError> {
        let request = requests::DeregisterServiceRequest {
            id: id.to_owned(),
            ..requests::DeregisterServiceRequest::default()
        };
        let asked = api::exec_with_empty(&self.consul, request);
        match self.call("deregister", LIMIT, asked).await {
            // Gone already.
            Err(CallError::Inner(ClientError::APIError { code: 404, .. })) => Ok(()),
            answer => answer.map(drop).map_err(judged),
        }
    }

    /// Says for an instance that has nothing to be checked that it is alive.
    pub(super) async fn alive(&self, check_id: &str) -> Result<(), RegistryError> {
        let request = check::requests::TtlCheckPassRequest {
            check: check_id.to_owned(),
            ..check::requests::TtlCheckPassRequest::default()
        };
        let asked = api::exec_with_empty(&self.consul, request);
        let answer = self.call("alive", LIMIT, asked).await;
        answer.map(drop).map_err(judged)
    }

    /// Returns the address of the leader, empty while there is none.
    pub(super) async fn leader(&self) -> Result<String, RegistryError> {
        Ok(self.ask("leader", LIMIT, Leader).await?.response)
    }

    async fn ask<E>(
        &self,
        name: &'static str,
        limit: Duration,
        endpoint: E,
    ) -> Result<ApiResponse<E::Response>, RegistryError>
    where
        E: Endpoint + FeaturedEndpoint,
    {
        let asked = api::exec_with_result(&self.consul, endpoint);
        self.call(name, limit, asked).await.map_err(judged)
    }

    async fn call<T>(
        &self,
        name: &'static str,
        limit: Duration,
        asked: impl Future<Output = Result<T, ClientError>>,
    ) -> Result<T, CallError<ClientError>> {
        let deadline = Deadline::after(limit);
        let span = info_span!("consul.request", otel.kind = "client", request = name);
        let asked = self.breaker.call(deadline, is_consuls_fault, asked);
        let result = asked.instrument(span).await;
        let outcome = outcome(&result);
        if matches!(outcome, TIMEOUT | FAILED) {
            counter!(names::CONNECTION_ERRORS_TOTAL, "to" => KIND).increment(1);
        }
        counter!(
            names::REGISTRY_REQUESTS_TOTAL,
            "request" => name,
            "outcome" => outcome,
        )
        .increment(1);
        result
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "consulrs takes a client of its own version, whose default has no time limits"
)]
fn http_client() -> Result<reqwest::Client, StartError> {
    reqwest::Client::builder()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(WAIT_LIMIT)
        .tcp_nodelay(true)
        .tcp_keepalive(TCP_KEEPALIVE)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
        .map_err(StartError::Client)
}

fn is_consuls_fault(error: &ClientError) -> bool {
    !refuses(error)
}

/// An answer below 500 is one: Consul works, and refuses.
fn refuses(error: &ClientError) -> bool {
    let ClientError::APIError { code, message } = error else {
        return false;
    };
    let starts = message.as_ref().is_some_and(|text| text.contains(STARTING));
    *code < 500 && !starts
}

fn outcome<T>(result: &Result<T, CallError<ClientError>>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(CallError::Open(_)) => "breaker_open",
        Err(CallError::Timeout(_)) => TIMEOUT,
        Err(CallError::Inner(error)) if refuses(error) => "refused",
        Err(CallError::Inner(ClientError::APIError { .. })) => "server_error",
        Err(CallError::Inner(_)) => FAILED,
    }
}

fn judged(error: CallError<ClientError>) -> RegistryError {
    let refused = matches!(&error, CallError::Inner(error) if refuses(error));
    match error {
        CallError::Inner(ClientError::APIError { code, message }) => {
            let rule = format!("status {code}: {}", message.unwrap_or_default().trim());
            if refused {
                RegistryError::Refused { kind: KIND, rule }
            } else {
                unavailable(rule)
            }
        }
        other => unavailable(other),
    }
}

fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> RegistryError {
    RegistryError::Unavailable {
        kind: KIND,
        source: source.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: u16, message: &str) -> CallError<ClientError> {
        let message = Some(message.to_owned());
        CallError::Inner(ClientError::APIError { code, message })
    }

    #[test]
    fn a_consul_that_starts_refuses_nobody_for_good() {
        let starts = answer(
            403,
            "ACL system must be bootstrapped before making any requests that require authorization",
        );
        assert_eq!(outcome::<()>(&Err(starts)), "server_error");
        let starts = judged(answer(403, STARTING));
        assert!(
            matches!(starts, RegistryError::Unavailable { .. }),
            "{starts:?}"
        );
        for (code, message) in [
            (403, "Permission denied"),
            (403, "ACL not found"),
            (400, ""),
        ] {
            let refused = judged(answer(code, message));
            assert!(
                matches!(refused, RegistryError::Refused { .. }),
                "{refused:?}"
            );
        }
    }
}
