//! One instance as a callee: its connection, its breaker, its calls in flight.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use metrics::counter;
use parking_lot::Mutex;
use sutazai_resilience::{Breaker, Breakers};
use sutazai_telemetry::names;
use tonic::transport::{Channel, Endpoint, Error};

use super::outlier::Outlier;
use crate::catalog::ServiceName;
use crate::registry::{Instance, InstanceId};

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked whether its peer is still there, and how long it may
/// take to answer. A dead peer is found out after the sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that is being opened, or is open: all who wait for it get the same one.
pub(super) type Connection = Shared<BoxFuture<'static, Result<Channel, Arc<Error>>>>;

/// The instances in use, one [`Member`] each, so that all edges share connection and breaker.
pub(super) struct Members {
    breakers: Breakers,
    known: Mutex<HashMap<InstanceId, (SocketAddr, Weak<Member>)>>,
}

/// One instance as a callee.
pub(super) struct Member {
    id: InstanceId,
    service: ServiceName,
    address: SocketAddr,
    breaker: Breaker,
    connection: Mutex<Option<Connection>>,
    in_flight: AtomicUsize,
    outlier: Outlier,
    members: Arc<Members>,
}

/// Counts as one call in flight until it is dropped.
pub(super) struct InFlight(Arc<Member>);

impl Members {
    pub(super) fn new(breakers: Breakers) -> Self {
        Self {
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
            connection: Mutex::default(),
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

    /// Returns the connection, opening one if there is none.
    pub(super) fn connection(&self) -> Connection {
        let mut slot = self.connection.lock();
        slot.get_or_insert_with(|| {
            counter!(names::MESH_CONNECTIONS_TOTAL, "to" => self.service.as_str()).increment(1);
            open(self.address)
                .map(|r| r.map_err(Arc::new))
                .boxed()
                .shared()
        })
        .clone()
    }

    /// Gives up a connection that failed, unless somebody opened another one meanwhile.
    ///
    /// A channel would reconnect by itself, but with a call already in its hands: a connection
    /// opened before the call is handed over leaves the choice of another member.
    pub(super) fn give_up(&self, failed: &Connection) {
        let mut slot = self.connection.lock();
        if slot.as_ref().is_some_and(|current| current.ptr_eq(failed)) {
            *slot = None;
        }
    }
}

impl InFlight {
    pub(super) fn member(&self) -> &Member {
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

fn endpoint(address: SocketAddr) -> Result<Endpoint, Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .keep_alive_while_idle(true);
    Ok(endpoint)
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that opens gRPC channels"
)]
async fn open(address: SocketAddr) -> Result<Channel, Error> {
    endpoint(address)?.connect().await
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
    fn connections_do_not_delay_small_packets() {
        let endpoint = endpoint(instance(1).grpc).unwrap();
        assert!(endpoint.get_tcp_nodelay());
        assert_eq!(endpoint.get_connect_timeout(), Some(CONNECT_TIMEOUT));
    }

    #[test]
    fn a_breaker_lives_as_long_as_somebody_uses_the_instance() {
        let breakers = Breakers::new();
        let members = Arc::new(Members::new(breakers.clone()));
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

    #[test]
    fn calls_count_until_they_end() {
        let member = Arc::new(Members::new(Breakers::new())).member(&instance(1));
        let calls = (member.enter(), member.enter());
        assert_eq!(member.in_flight(), 2);
        drop(calls);
        assert_eq!(member.in_flight(), 0);
    }
}
