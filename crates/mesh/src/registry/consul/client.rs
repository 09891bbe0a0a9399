//! The one way in which requests reach Consul: with a deadline, a breaker and a metric.

use std::{error::Error, time::Duration};

use consulrs::{
    api::{EndpointMiddleware, check, features::FeaturedEndpoint, service::requests},
    error::ClientError,
};
use metrics::counter;
use rustify::{
    endpoint::{Endpoint, EndpointResult},
    errors::ClientError as Failure,
};
use sutazai_resilience::{
    Breakers,
    backoff::Backoff,
    breaker::{self, Breaker, CallError},
    deadline::Deadline,
};
use sutazai_telemetry::names;
use tracing::{Instrument, info_span};

use super::{
    InvalidSettings, KIND, Settings,
    endpoints::{AgentService, EnteredInstances, Entry, Leader, PassingInstances, Service},
    transport::Transport,
};
use crate::registry::RegistryError;

/// Version of Consul's API; there is one.
const VERSION: &str = "v1";
/// Header that says how far the cluster was when it answered.
const INDEX: &str = "x-consul-index";
/// Longest time for a request that Consul answers at once.
const LIMIT: Duration = Duration::from_secs(3);
/// How long Consul may hold a request until something changes; it adds up to a sixteenth itself.
const WAIT: Duration = Duration::from_secs(55);
/// Longest time for a request that Consul holds.
const WAIT_LIMIT: Duration = Duration::from_secs(65);
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
    /// Reaches the instances too: whether they still answer.
    pub(super) transport: Transport,
    token: Option<String>,
    breaker: Breaker,
}

/// What Consul says, and when it was true.
struct Answer<T> {
    index: u64,
    said: T,
}

/// The passing instances at one moment.
#[derive(Debug)]
pub(super) struct Passing {
    pub(super) index: u64,
    pub(super) entries: Vec<Entry>,
}

impl Client {
    pub(super) fn new(settings: &Settings, breakers: &Breakers) -> Result<Self, InvalidSettings> {
        Ok(Self {
            transport: Transport::new(settings.base()?),
            token: settings.plain_token()?,
            breaker: breakers.get_with("consul", BREAKER),
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
            index: answer.index,
            entries: answer.said,
        })
    }

    /// Lists the instances of a service, whatever their checks say.
    pub(super) async fn entered(&self, service: &str) -> Result<Vec<Entry>, RegistryError> {
        let endpoint = EnteredInstances {
            service: service.to_owned(),
        };
        Ok(self.ask("entered", LIMIT, endpoint).await?.said)
    }

    /// Returns an entry of the agent, if it has it.
    pub(super) async fn entry(&self, id: &str) -> Result<Option<Service>, RegistryError> {
        let endpoint = AgentService { id: id.to_owned() };
        match self.call("entry", LIMIT, self.read(endpoint)).await {
            Ok(answer) => Ok(Some(answer.said)),
            Err(CallError::Inner(ClientError::APIError { code: 404, .. })) => Ok(None),
            Err(error) => Err(judged(error)),
        }
    }

    pub(super) async fn register(
        &self,
        request: requests::RegisterServiceRequest,
    ) -> Result<(), RegistryError> {
        let answer = self.call("register", LIMIT, self.exec(request)).await;
        answer.map(drop).map_err(judged)
    }

    pub(super) async fn deregister(&self, id: &str) -> Result<(), RegistryError> {
        let request = requests::DeregisterServiceRequest {
            id: id.to_owned(),
            ..requests::DeregisterServiceRequest::default()
        };
        match self.call("deregister", LIMIT, self.exec(request)).await {
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
        let answer = self.call("alive", LIMIT, self.exec(request)).await;
        answer.map(drop).map_err(judged)
    }

    /// Returns the address of the leader, empty while there is none.
    pub(super) async fn leader(&self) -> Result<String, RegistryError> {
        Ok(self.ask("leader", LIMIT, Leader).await?.said)
    }

    async fn ask<E>(
        &self,
        name: &'static str,
        limit: Duration,
        endpoint: E,
    ) -> Result<Answer<E::Response>, RegistryError>
    where
        E: Endpoint + FeaturedEndpoint,
    {
        let asked = self.call(name, limit, self.read(endpoint));
        asked.await.map_err(judged)
    }

    /// Sends a request and reads what the answer says.
    async fn read<E>(&self, endpoint: E) -> Result<Answer<E::Response>, ClientError>
    where
        E: Endpoint + FeaturedEndpoint,
    {
        let result = self.exec(endpoint).await?;
        let index = result.response.headers().get(INDEX);
        let index = index.and_then(|text| text.to_str().ok()?.parse().ok());
        Ok(Answer {
            index: index.unwrap_or_default(),
            said: result.parse()?,
        })
    }

    async fn exec<E>(&self, endpoint: E) -> Result<EndpointResult<E::Response>, ClientError>
    where
        E: Endpoint + FeaturedEndpoint,
    {
        let middleware = EndpointMiddleware {
            features: endpoint.features(),
            token: self.token.clone(),
            version: VERSION.to_owned(),
        };
        let endpoint = endpoint.with_middleware(&middleware);
        let result = endpoint.exec(&self.transport).await;
        result.map_err(|error| match error {
            Failure::ServerResponseError { code, content } => ClientError::APIError {
                code,
                message: content,
            },
            other => other.into(),
        })
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
