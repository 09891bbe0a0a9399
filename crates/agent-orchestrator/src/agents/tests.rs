//! What is taken as an announcement, and the first list after a start.

use std::collections::BTreeMap;

use sutazai_mesh::registry::{
    InstanceId,
    consul::{ConsulRegistry, Settings},
};
use sutazai_proto::agents::v1 as wire;
use sutazai_resilience::Breakers;
use sutazai_testkit::consul::FakeConsul;

use super::*;

fn request() -> AnnounceRequest {
    AnnounceRequest {
        name: "sample-agent".to_owned(),
        version: "1.0.0".to_owned(),
        description: "an agent".to_owned(),
        capabilities: vec![wire::Capability {
            task_type: "sample.echo".to_owned(),
            description: "says it again".to_owned(),
        }],
        slots: 4,
    }
}

#[test]
fn a_good_announcement_is_taken() {
    let announcement = Announcement::parse(request()).unwrap();
    assert_eq!(announcement.capabilities[0].task_type, "sample.echo");
    assert_eq!(announcement.slots, 4);
}

#[test]
fn every_fault_is_named_at_once() {
    let bad = AnnounceRequest {
        name: "Not A Name".to_owned(),
        version: String::new(),
        description: "x".repeat(513),
        capabilities: vec![wire::Capability {
            task_type: "..".to_owned(),
            description: String::new(),
        }],
        slots: 0,
    };
    let Err(Error::Invalid(violations)) = Announcement::parse(bad) else {
        panic!("taken")
    };
    let fields: Vec<&str> = violations.iter().map(|v| v.field.as_str()).collect();
    let expected = [
        "/name",
        "/version",
        "/description",
        "/slots",
        "/capabilities/0/task_type",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn agt_01_the_first_list_after_the_start_misses_no_agent() {
    let consul = FakeConsul::start().await;
    let registry = || ConsulRegistry::new(Settings::new(consul.url()), &Breakers::new());
    let service = ServiceName::AutomationAgent;
    let agent = Instance {
        id: InstanceId::new("automation-agent-1"),
        service,
        grpc: ([127, 0, 0, 1], 1).into(),
        http: None,
        version: "0.0.0".to_owned(),
        meta: BTreeMap::new(),
    };
    let entered = registry().unwrap();
    let lease = entered.register(agent).await.unwrap();
    let announcement = Announcement {
        name: service.to_string(),
        ..Announcement::parse(request()).unwrap()
    };
    // Nobody has asked this registry before: its first answer is still on the way.
    let agents = Agents::new(
        Store::of_a_scratch_database().await,
        Arc::new(registry().unwrap()),
        Cache::local(sutazai_persistence::cache::Settings::default()),
    );
    agents.announce(&announcement).await.unwrap();
    let live = agents.live().await.unwrap();
    let found: Vec<&str> = live
        .iter()
        .flat_map(|(_, instances)| instances.iter().map(|instance| instance.id.as_str()))
        .collect();
    assert_eq!(found, ["automation-agent-1"]);
    lease.close().await.unwrap();
}
