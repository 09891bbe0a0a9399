//! The circuit breakers of all processes: every live instance is asked, and who stays silent is named.

use std::time::Duration;

use futures::future::join_all;
use sutazai_auth::Principal;
use sutazai_mesh::{channel::Edge, registry::Instance};
use sutazai_proto::{
    Coded, ErrorCode,
    platform::v1::{
        Breaker, BreakerAction, BreakerHistoryRequest, BreakerTransition, BreakersRequest,
        SetBreakerRequest, diagnostics_client::DiagnosticsClient,
    },
};
use sutazai_resilience::Deadline;
use tonic::{Request, Response, Status};

use crate::{error::Error, peers::Peers};

/// Longest time until all instances are found and have answered; all are asked at the same time.
const ANSWER: Duration = Duration::from_secs(2);

/// Reads and sets the breakers of all processes.
#[derive(Clone)]
pub(crate) struct CircuitBreakers {
    peers: Peers,
}

/// What one instance said.
pub(crate) struct Said<T> {
    pub(crate) instance: Instance,
    pub(crate) answer: Result<T, Error>,
}

/// What those instances said that have the breaker, and who could not be asked.
pub(crate) struct Found<T> {
    pub(crate) answers: Vec<(Instance, T)>,
    pub(crate) silent: Vec<(Instance, Error)>,
}

impl CircuitBreakers {
    pub(crate) fn new(peers: Peers) -> Self {
        Self { peers }
    }

    /// Asks every live instance for its breakers.
    pub(crate) async fn list(&self, principal: &Principal) -> Vec<Said<Vec<Breaker>>> {
        let send = async |mut client: DiagnosticsClient<Edge>, request| {
            let found = client.breakers(request).await?;
            Ok(found.map(|found| found.breakers))
        };
        let deadline = Deadline::after(ANSWER);
        let instances = self.instances(deadline).await;
        self.ask(&instances, deadline, principal, BreakersRequest {}, send)
            .await
    }

    /// Returns one breaker as each instance sees it that has it.
    pub(crate) async fn get(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<Found<Breaker>, Error> {
        let said = self.list(principal).await.into_iter();
        let said = said.map(|said| {
            let own = said.answer.map(|breakers| {
                let mut breakers = breakers.into_iter();
                breakers.find(|breaker| breaker.name == name)
            });
            (said.instance, own.transpose())
        });
        Found::of(said)
    }

    /// Returns what happened to one breaker on each instance that has it.
    pub(crate) async fn history(
        &self,
        principal: &Principal,
        name: &str,
        only: Option<&str>,
    ) -> Result<Found<Vec<BreakerTransition>>, Error> {
        let request = BreakerHistoryRequest {
            name: name.to_owned(),
        };
        let send = async |mut client: DiagnosticsClient<Edge>, request| {
            let found = client.breaker_history(request).await?;
            Ok(found.map(|found| found.transitions))
        };
        let deadline = Deadline::after(ANSWER);
        let chosen = self.chosen(only, deadline).await?;
        let said = self.ask(&chosen, deadline, principal, request, send).await;
        Found::of(said.into_iter().map(Said::among_many))
    }

    /// Resets or holds one breaker on each instance that has it, or on the one named.
    pub(crate) async fn set(
        &self,
        principal: &Principal,
        name: &str,
        action: BreakerAction,
        only: Option<&str>,
    ) -> Result<Found<Breaker>, Error> {
        let request = SetBreakerRequest {
            name: name.to_owned(),
            action: action.into(),
        };
        let send =
            async |mut client: DiagnosticsClient<Edge>, request| client.set_breaker(request).await;
        let deadline = Deadline::after(ANSWER);
        let chosen = self.chosen(only, deadline).await?;
        let said = self.ask(&chosen, deadline, principal, request, send).await;
        Found::of(said.into_iter().map(Said::among_many))
    }

    /// Returns the live instances of all services.
    async fn instances(&self, deadline: Deadline) -> Vec<Instance> {
        let services = Peers::services();
        let services = join_all(services.map(|name| self.peers.instances(name, deadline))).await;
        services.iter().flat_map(|known| known.to_vec()).collect()
    }

    async fn chosen(&self, only: Option<&str>, deadline: Deadline) -> Result<Vec<Instance>, Error> {
        let mut instances = self.instances(deadline).await;
        if let Some(id) = only {
            instances.retain(|instance| instance.id.as_str() == id);
            if instances.is_empty() {
                return Err(Error::InstanceNotFound);
            }
        }
        Ok(instances)
    }

    async fn ask<T: Clone, R>(
        &self,
        instances: &[Instance],
        deadline: Deadline,
        principal: &Principal,
        message: T,
        send: impl AsyncFn(DiagnosticsClient<Edge>, Request<T>) -> Result<Response<R>, Status>,
    ) -> Vec<Said<R>> {
        let (message, send) = (&message, &send);
        let asked = instances.iter().map(async |instance| {
            let call = async |edge, request| send(DiagnosticsClient::new(edge), request).await;
            let answer = self
                .peers
                .call_instance(deadline, instance, principal, message.clone(), call)
                .await;
            Said {
                instance: instance.clone(),
                answer,
            }
        });
        join_all(asked).await
    }
}

impl<T> Said<T> {
    /// Takes "not here" for an answer: most processes do not have the breaker.
    fn among_many(self) -> (Instance, Option<Result<T, Error>>) {
        let absent = |error: &Error| error.code() == ErrorCode::NotFound;
        let said = match self.answer {
            Err(error) if absent(&error) => None,
            answer => Some(answer),
        };
        (self.instance, said)
    }
}

impl<T> Found<T> {
    /// Sorts what was said; a breaker that nobody has is not found only if everybody was heard.
    fn of(said: impl Iterator<Item = (Instance, Option<Result<T, Error>>)>) -> Result<Self, Error> {
        let mut found = Self {
            answers: Vec::new(),
            silent: Vec::new(),
        };
        let mut refusal = None;
        for (instance, answer) in said {
            match answer {
                None => {}
                Some(Ok(answer)) => found.answers.push((instance, answer)),
                // The caller's own fault or lack of rights is the same everywhere.
                Some(Err(error)) if !error.code().policy().http.is_server_error() => {
                    refusal = Some(error);
                }
                Some(Err(error)) => found.silent.push((instance, error)),
            }
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        match (found.answers.is_empty(), found.silent.is_empty()) {
            (true, true) => Err(Error::BreakerNotFound),
            (true, false) => Err(Error::InstancesSilent),
            _ => Ok(found),
        }
    }
}

#[cfg(test)]
mod tests;
