//! One instance as a callee: its connections, its breaker, its calls in flight.

use std::{
    collections::HashMap,
    error::Error,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use futures::FutureExt;
use metrics::counter;
use parking_lot::Mutex;
use sutazai_proto::status::chain;
use sutazai_resilience::{Breaker, Breakers, breaker::Permit};
use sutazai_telemetry::names;

use super::call::millis;
use super::connections::{Connections, Opening, Slot};
use super::link::{ConnectError, Link};
use super::outlier::Outlier;
use crate::catalog::ServiceName;
use crate::registry::{Instance, InstanceId};

/// The instances in use, one [`Member`] each, so that all edges share connections and breaker.
pub(super) struct Members {
    from: ServiceName,
    breakers: Breakers,
    known: Mutex<HashMap<InstanceId, (SocketAddr, Weak<Member>)>>,
}

/// One instance as a callee.
pub(super) struct Member {
    id: InstanceId,
    service: ServiceName,
    address: SocketAddr,
    breaker: Breaker,
    connections: Connections,
    in_flight: AtomicUsize,
    outlier: Outlier,
    members: Arc<Members>,
}

/// One attempt to connect that failed, told to all who waited for it.
#[derive(Clone)]
pub(super) struct Unreached {
    pub(super) source: Arc<ConnectError>,
    /// Whether the breaker knows of it.
    is_told: Arc<AtomicBool>,
}

/// Counts as one call in flight until it is dropped.
pub(super) struct InFlight(Arc<Member>);

impl Members {
    pub(super) fn new(from: ServiceName, breakers: Breakers) -> Self {
        Self {
            from,
            breakers,
            known: Mutex::default(),
        }
    }

    /// Returns the member of an instance, the one in use if there is one at this address.
    pub(super) fn member(self: &Arc<Self>, instance: &Instance) -> Arc<Member> {
        let mut known = self.known.lock();
        if let Some((address, member)) = known.get(&instance.id)
            && *address == instance.grpc
            && let Some(member) = member.upgrade()
        {
            return member;
        }
        let member = Arc::new(Member {
            id: instance.id.clone(),
            service: instance.service,
            address: instance.grpc,
            breaker: self.breakers.get(&breaker_name(&instance.id)),
            connections: Connections::default(),
            in_flight: AtomicUsize::new(0),
            outlier: Outlier::default(),
            members: Arc::clone(self),
        });
        known.insert(
            instance.id.clone(),
            (instance.grpc, Arc::downgrade(&member)),
        );
        member
    }
}

impl Member {
    pub(super) fn id(&self) -> &InstanceId {
        &self.id
    }

    pub(super) fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(super) fn outlier(&self) -> &Outlier {
        &self.outlier
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(super) fn enter(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Returns a connection with a slot for one call, opening one if there is none.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(Link, Slot), Unreached> {
        let open = || open(Arc::downgrade(self), self.service, self.address);
        self.connections.slot(open).await
    }

    /// Connects again where a connection ended that had been of use: whoever calls next then knows already
    /// whether there is somebody.
    async fn renew(self: Arc<Self>) {
        if let Err(unreached) = self.connect().await
            && let Ok(permit) = self.breaker.permit()
        {
            unreached.tell(permit, &chain(&*unreached.source));
        }
    }

    /// Notes that this instance is not at its address, and since when that was tried: until somebody takes
    /// a new connection, or the time is over, all others go before.
    pub(super) fn is_away(&self, why: &dyn Error, began: Instant) {
        let time = self.outlier.away();
        let (from, to) = (self.members.from.as_str(), self.service.as_str());
        counter!(names::MESH_EJECTIONS_TOTAL, "from" => from, "to" => to).increment(1);
        let (error, took_ms) = (chain(why), millis(began));
        tracing::warn!(instance = %self.id, to, took_ms, ?time, error, "instance not there, others go before");
    }
}

impl Unreached {
    pub(super) fn new(source: ConnectError) -> Self {
        Self {
            source: Arc::new(source),
            is_told: Arc::default(),
        }
    }

    /// Tells the breaker, once however many waited for the connection.
    pub(super) fn tell(&self, permit: Permit, why: &str) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            permit.failure(why);
        }
    }
}

impl InFlight {
    pub(super) fn member(&self) -> &Arc<Member> {
        &self.0
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut known = self.members.known.lock();
        // The same id may be in use again, for example at another address.
        if known
            .get(&self.id)
            .is_some_and(|(_, member)| member.strong_count() == 0)
        {
            known.remove(&self.id);
            self.members.breakers.remove(self.breaker.name());
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

fn breaker_name(id: &InstanceId) -> String {
    format!("grpc:{id}")
}

/// Opens a connection for a member, as long as that one is in use.
fn open(member: Weak<Member>, service: ServiceName, address: SocketAddr) -> Opening {
    counter!(names::MESH_CONNECTIONS_TOTAL, "to" => service.as_str()).increment(1);
    let opening = async move {
        let began = Instant::now();
        match Link::open(address).await {
            Ok((link, end)) => {
                if let Some(member) = member.upgrade() {
                    member.outlier.back();
                }
                tokio::spawn(async move {
                    // One that was of no use may be the next of many like it.
                    if end.await.had_answers
                        && let Some(member) = member.upgrade()
                    {
                        member.renew().await;
                    }
                });
                Ok(link)
            }
            Err(error) => {
                if let Some(member) = member.upgrade() {
                    member.is_away(&error, began);
                }
                Err(Unreached::new(error))
            }
        }
    };
    opening.boxed().shared()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn instance(port: u16) -> Instance {
        Instance {
            id: InstanceId::new("backend-1"),
            service: ServiceName::Backend,
            grpc: SocketAddr::from(([127, 0, 0, 1], port)),
            http: None,
            version: "1".to_owned(),
            meta: BTreeMap::new(),
        }
    }

    #[test]
    fn a_breaker_lives_as_long_as_somebody_uses_the_instance() {
        let breakers = Breakers::new();
        let members = Arc::new(Members::new(ServiceName::Cli, breakers.clone()));
        let one = members.member(&instance(1));
        let same = members.member(&instance(1));
        assert!(Arc::ptr_eq(&one, &same));

        let moved = members.member(&instance(2));
        assert!(!Arc::ptr_eq(&one, &moved));
        drop((one, same));
        assert_eq!(breakers.list().len(), 1);
        drop(moved);
        assert_eq!(breakers.list().len(), 0);
    }

    #[tokio::test]
    async fn an_opening_keeps_no_instance_in_use() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let breakers = Breakers::new();
        let members = Arc::new(Members::new(ServiceName::Cli, breakers.clone()));
        let member = members.member(&instance(listener.local_addr().unwrap().port()));
        assert!(member.connect().now_or_never().is_none());
        drop(member);
        assert_eq!(breakers.list().len(), 0);
    }

    #[test]
    fn calls_count_until_they_end() {
        let member = Arc::new(Members::new(ServiceName::Cli, Breakers::new())).member(&instance(1));
        let calls = (member.enter(), member.enter());
        assert_eq!(member.in_flight(), 2);
        drop(calls);
        assert_eq!(member.in_flight(), 0);
    }
}
