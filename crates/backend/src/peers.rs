//! The one way to the other services: on behalf of a principal, within a deadline.

use std::{sync::Arc, time::Duration};

use sutazai_auth::{identity::Identity, principal::Principal};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::{Edge, Mesh},
    registry::Instance,
};
use sutazai_resilience::Deadline;
use tonic::{Request, Response, Status};

use crate::error::Error;

/// Longest time of a call that answers once.
const CALL: Duration = Duration::from_secs(10);

/// Calls the other services.
#[derive(Clone)]
pub(crate) struct Peers {
    mesh: Mesh,
    identity: Identity,
}

impl Peers {
    pub(crate) fn new(mesh: Mesh, identity: Identity) -> Self {
        Self { mesh, identity }
    }

    /// Names the kind of the registry.
    pub(crate) fn registry_kind(&self) -> &'static str {
        self.mesh.registry().kind()
    }

    /// Returns every service that can be called: the operator's tool calls and never serves.
    pub(crate) fn services() -> impl Iterator<Item = ServiceName> {
        let all = ServiceName::ALL.into_iter();
        all.filter(|name| *name != ServiceName::Cli)
    }

    /// Returns the live instances of a service. A watch begins at its first use, so the first look is
    /// given until the deadline to hear who is there.
    pub(crate) async fn instances(
        &self,
        service: ServiceName,
        deadline: Deadline,
    ) -> Arc<[Instance]> {
        self.mesh.registry().watch(service).known(deadline).await
    }

    /// Makes a call that answers once.
    pub(crate) async fn call<T, R, F>(
        &self,
        to: ServiceName,
        principal: &Principal,
        message: T,
        send: impl FnOnce(Edge, Request<T>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.call_within(Deadline::after(CALL), to, principal, message, send)
            .await
    }

    /// Makes a call with a deadline of its own; for a stream it bounds the stream as well.
    pub(crate) async fn call_within<T, R, F>(
        &self,
        deadline: Deadline,
        to: ServiceName,
        principal: &Principal,
        message: T,
        send: impl FnOnce(Edge, Request<T>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.send(
            deadline,
            to,
            self.mesh.channel(to),
            principal,
            message,
            send,
        )
        .await
    }

    /// Makes a call to one instance, for what it alone can say.
    pub(crate) async fn call_instance<T, R, F>(
        &self,
        deadline: Deadline,
        to: &Instance,
        principal: &Principal,
        message: T,
        send: impl FnOnce(Edge, Request<T>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        self.send(
            deadline,
            to.service,
            self.mesh.instance(to),
            principal,
            message,
            send,
        )
        .await
    }

    async fn send<T, R, F>(
        &self,
        deadline: Deadline,
        to: ServiceName,
        edge: Edge,
        principal: &Principal,
        message: T,
        send: impl FnOnce(Edge, Request<T>) -> F,
    ) -> Result<R, Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let request = self
            .identity
            .request(to, Some(principal), deadline, message)?;
        let answer = deadline.run(send(edge, request)).await;
        Ok(answer.map_err(|_| Error::DeadlineExceeded)??.into_inner())
    }
}
