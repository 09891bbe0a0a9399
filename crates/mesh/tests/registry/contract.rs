//! What every registry promises, run over each implementation.

use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{Registry, memory::MemoryRegistry};

use super::running::Running;
#[cfg(feature = "servers")]
use super::stage::Stage;
use super::waiting::shows;

async fn a_watch_sees_who_comes_and_goes(registry: impl Registry) {
    let mut before = registry.watch(ServiceName::Backend);
    shows(&mut before, &[]).await;

    let one = Running::start("backend-1", ServiceName::Backend);
    let two = Running::start("backend-2", ServiceName::Backend);
    let lease_one = registry.register(one.instance.clone()).await.unwrap();
    shows(&mut before, &[&one.instance]).await;
    let lease_two = registry.register(two.instance.clone()).await.unwrap();
    shows(&mut before, &[&one.instance, &two.instance]).await;
    let mut after = registry.watch(ServiceName::Backend);
    shows(&mut after, &[&one.instance, &two.instance]).await;

    one.not_ready().await;
    lease_one.close().await.unwrap();
    shows(&mut before, &[&two.instance]).await;
    shows(&mut after, &[&two.instance]).await;
    two.not_ready().await;
    lease_two.close().await.unwrap();
    shows(&mut before, &[]).await;
}

async fn services_do_not_mix(registry: impl Registry) {
    let backend = Running::start("backend-1", ServiceName::Backend);
    let proxy = Running::start("ollama-proxy-1", ServiceName::OllamaProxy);
    let leases = (
        registry.register(backend.instance.clone()).await.unwrap(),
        registry.register(proxy.instance.clone()).await.unwrap(),
    );
    let mut backends = registry.watch(ServiceName::Backend);
    let mut proxies = registry.watch(ServiceName::OllamaProxy);
    shows(&mut backends, &[&backend.instance]).await;
    shows(&mut proxies, &[&proxy.instance]).await;
    leases.0.close().await.unwrap();
    leases.1.close().await.unwrap();
}

async fn a_dropped_lease_ends(registry: impl Registry) {
    let one = Running::start("backend-1", ServiceName::Backend);
    let mut watch = registry.watch(ServiceName::Backend);
    let lease = registry.register(one.instance.clone()).await.unwrap();
    shows(&mut watch, &[&one.instance]).await;
    one.not_ready().await;
    drop(lease);
    shows(&mut watch, &[]).await;
}

async fn registering_again_replaces(registry: impl Registry) {
    let before = Running::start("backend-1", ServiceName::Backend);
    let after = Running::start("backend-1", ServiceName::Backend);
    let mut watch = registry.watch(ServiceName::Backend);
    let first = registry.register(before.instance.clone()).await.unwrap();
    let second = registry.register(after.instance.clone()).await.unwrap();
    shows(&mut watch, &[&after.instance]).await;
    // The lease of a replaced entry removes nothing.
    first.close().await.unwrap();
    let mut later = registry.watch(ServiceName::Backend);
    shows(&mut later, &[&after.instance]).await;
    assert_eq!(watch.current()[..], *std::slice::from_ref(&after.instance));
    after.not_ready().await;
    second.close().await.unwrap();
    shows(&mut watch, &[]).await;
}

async fn a_foreign_service_nobody_entered_is_empty(registry: impl Registry) {
    let mut watch = registry.watch_foreign("ollama");
    let changed =
        tokio::time::timeout(std::time::Duration::from_millis(100), watch.changed()).await;
    assert!(changed.is_err() && watch.current().is_empty());
}

async fn a_ping_has_evidence(registry: impl Registry) {
    assert!(!registry.ping().await.unwrap().is_empty());
    assert!(!registry.kind().is_empty());
}

/// One test for each promise; `$make` gives a registry and what it stands on.
macro_rules! contract {
    ($implementation:ident: $make:expr) => {
        mod $implementation {
            use super::*;

            contract! { $make =>
                msh_03_a_watch_sees_who_comes_and_goes: a_watch_sees_who_comes_and_goes,
                services_do_not_mix: services_do_not_mix,
                msh_04_a_dropped_lease_ends: a_dropped_lease_ends,
                msh_04_registering_again_replaces: registering_again_replaces,
                a_foreign_service_nobody_entered_is_empty: a_foreign_service_nobody_entered_is_empty,
                msh_02_a_ping_has_evidence: a_ping_has_evidence,
            }
        }
    };
    ($make:expr => $($test:ident: $promise:ident,)*) => {$(
        #[tokio::test]
        async fn $test() {
            let (registry, _stands_on) = $make;
            super::$promise(registry).await;
        }
    )*};
}

contract!(memory: (MemoryRegistry::new(), ()));
#[cfg(feature = "servers")]
contract!(consul: {
    let stage = Stage::start().await;
    (stage.registry(), stage)
});

#[tokio::test]
async fn a_watch_learns_that_the_registry_is_gone() {
    let registry = MemoryRegistry::new();
    let one = Running::start("backend-1", ServiceName::Backend)
        .instance
        .clone();
    let lease = registry.register(one.clone()).await.unwrap();
    let mut watch = registry.watch(ServiceName::Backend);
    drop(registry);
    assert!(!watch.changed().await);
    assert_eq!(watch.current()[..], [one]);
    lease.close().await.unwrap();
}
