//! What every registry promises, run over each implementation.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{Instance, InstanceId, Registry, Watch, memory::MemoryRegistry};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

fn instance(id: &str, service: ServiceName, port: u16) -> Instance {
    Instance {
        id: InstanceId::new(id),
        service,
        grpc: SocketAddr::from(([127, 0, 0, 1], port)),
        http: Some(SocketAddr::from(([127, 0, 0, 1], port + 1))),
        version: "0.1.0".to_owned(),
        meta: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
    }
}

/// Waits until the watch shows exactly these instances.
async fn shows(watch: &mut Watch, expected: &[&Instance]) {
    let reached = timeout(PATIENCE, async {
        loop {
            let current = watch.current();
            let complete = expected.iter().all(|instance| current.contains(instance));
            if complete && current.len() == expected.len() {
                return;
            }
            assert!(watch.changed().await, "the registry is gone");
        }
    });
    let outcome = reached.await;
    assert!(
        outcome.is_ok(),
        "expected {expected:?}, found {:?}",
        watch.current()
    );
}

async fn a_watch_sees_who_comes_and_goes(registry: impl Registry) {
    let mut before = registry.watch(ServiceName::Backend);
    shows(&mut before, &[]).await;

    let one = instance("backend-1", ServiceName::Backend, 1000);
    let two = instance("backend-2", ServiceName::Backend, 2000);
    let lease_one = registry.register(one.clone()).await.unwrap();
    shows(&mut before, &[&one]).await;
    let lease_two = registry.register(two.clone()).await.unwrap();
    shows(&mut before, &[&one, &two]).await;
    let mut after = registry.watch(ServiceName::Backend);
    shows(&mut after, &[&one, &two]).await;

    lease_one.close().await.unwrap();
    shows(&mut before, &[&two]).await;
    shows(&mut after, &[&two]).await;
    lease_two.close().await.unwrap();
    shows(&mut before, &[]).await;
}

async fn services_do_not_mix(registry: impl Registry) {
    let backend = instance("backend-1", ServiceName::Backend, 1000);
    let proxy = instance("ollama-proxy-1", ServiceName::OllamaProxy, 2000);
    let leases = (
        registry.register(backend.clone()).await.unwrap(),
        registry.register(proxy.clone()).await.unwrap(),
    );
    shows(&mut registry.watch(ServiceName::Backend), &[&backend]).await;
    shows(&mut registry.watch(ServiceName::OllamaProxy), &[&proxy]).await;
    leases.0.close().await.unwrap();
    leases.1.close().await.unwrap();
}

async fn a_dropped_lease_ends(registry: impl Registry) {
    let one = instance("backend-1", ServiceName::Backend, 1000);
    let mut watch = registry.watch(ServiceName::Backend);
    let lease = registry.register(one.clone()).await.unwrap();
    shows(&mut watch, &[&one]).await;
    drop(lease);
    shows(&mut watch, &[]).await;
}

async fn registering_again_replaces(registry: impl Registry) {
    let before = instance("backend-1", ServiceName::Backend, 1000);
    let after = instance("backend-1", ServiceName::Backend, 3000);
    let mut watch = registry.watch(ServiceName::Backend);
    let first = registry.register(before).await.unwrap();
    let second = registry.register(after.clone()).await.unwrap();
    shows(&mut watch, &[&after]).await;
    second.close().await.unwrap();
    shows(&mut watch, &[]).await;
    drop(first);
}

async fn a_ping_has_evidence(registry: impl Registry) {
    assert!(!registry.ping().await.unwrap().is_empty());
    assert!(!registry.kind().is_empty());
}

macro_rules! contract {
    ($implementation:ident: $make:expr) => {
        mod $implementation {
            use super::*;

            #[tokio::test]
            async fn msh_03_a_watch_sees_who_comes_and_goes() {
                super::a_watch_sees_who_comes_and_goes($make).await;
            }

            #[tokio::test]
            async fn services_do_not_mix() {
                super::services_do_not_mix($make).await;
            }

            #[tokio::test]
            async fn msh_04_a_dropped_lease_ends() {
                super::a_dropped_lease_ends($make).await;
            }

            #[tokio::test]
            async fn msh_04_registering_again_replaces() {
                super::registering_again_replaces($make).await;
            }

            #[tokio::test]
            async fn msh_02_a_ping_has_evidence() {
                super::a_ping_has_evidence($make).await;
            }
        }
    };
}

contract!(memory: MemoryRegistry::new());

#[tokio::test]
async fn the_lease_of_a_replaced_entry_removes_nothing() {
    let registry = MemoryRegistry::new();
    let after = instance("backend-1", ServiceName::Backend, 3000);
    let before = instance("backend-1", ServiceName::Backend, 1000);
    let first = registry.register(before).await.unwrap();
    let second = registry.register(after.clone()).await.unwrap();
    first.close().await.unwrap();
    assert_eq!(registry.watch(ServiceName::Backend).current()[..], [after]);
    second.close().await.unwrap();
}

#[tokio::test]
async fn a_watch_learns_that_the_registry_is_gone() {
    let registry = MemoryRegistry::new();
    let one = instance("backend-1", ServiceName::Backend, 1000);
    let lease = registry.register(one.clone()).await.unwrap();
    let mut watch = registry.watch(ServiceName::Backend);
    drop(registry);
    assert!(!watch.changed().await);
    assert_eq!(watch.current()[..], [one]);
    lease.close().await.unwrap();
}
