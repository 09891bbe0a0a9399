//! The first look, before anything was watched.

use std::{collections::BTreeMap, sync::Arc};

use sutazai_auth::{Identity, Role, keys::KeySet, keys::SigningKey};
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Mesh,
    registry::{
        InstanceId, Registry,
        consul::{ConsulRegistry, Settings},
    },
};
use sutazai_resilience::Breakers;
use sutazai_testkit::consul::FakeConsul;

use super::*;

#[tokio::test]
async fn cb_03_the_first_look_after_the_start_misses_no_instance() {
    let consul = FakeConsul::start().await;
    let registry = || ConsulRegistry::new(Settings::new(consul.url()), &Breakers::new());
    // The backend calls it for diagnostics only, so nobody has watched it before.
    let agent = Instance {
        id: InstanceId::new("automation-agent-1"),
        service: ServiceName::AutomationAgent,
        grpc: ([127, 0, 0, 1], 1).into(),
        http: Some(([127, 0, 0, 1], 2).into()),
        version: "0.0.0".to_owned(),
        meta: BTreeMap::new(),
    };
    let entered = registry().unwrap();
    let lease = entered.register(agent).await.unwrap();
    let own = Arc::new(registry().unwrap());
    let mesh = Mesh::new(ServiceName::Backend, own, Breakers::new());
    let key = SigningKey::generate().unwrap();
    let identity = Identity::new(ServiceName::Backend, key, KeySet::fixed([]));
    let breakers = CircuitBreakers::new(Peers::new(mesh, identity));
    let operator = Principal {
        subject: "s".to_owned(),
        tenant: "t".to_owned(),
        roles: vec![Role::Admin],
        scopes: None,
    };
    let said = breakers.list(&operator).await;
    let asked: Vec<&str> = said.iter().map(|said| said.instance.id.as_str()).collect();
    // It is found; that nobody listens there is its own answer.
    assert_eq!(asked, ["automation-agent-1"]);
    lease.close().await.unwrap();
}
