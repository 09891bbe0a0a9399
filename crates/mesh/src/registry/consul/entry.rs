//! How an instance is written into Consul and read from there.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use consulrs::api::{
    check::common::AgentServiceCheck,
    service::{common::AgentWeights, requests::RegisterServiceRequest},
};

use super::{Settings, endpoints::Entry};
use crate::{
    catalog::ServiceName,
    registry::{Foreign, Instance, InstanceId},
};

/// Facts with a field of their own, under the names that they have in Consul's meta.
const VERSION: &str = "version";
const PROTOCOL: &str = "protocol";
const GRPC_PORT: &str = "grpc_port";
const HTTP_PORT: &str = "http_port";
/// Tells two registrations under one id apart.
const REGISTRATION: &str = "registration";
const OWN: [&str; 5] = [VERSION, PROTOCOL, GRPC_PORT, HTTP_PORT, REGISTRATION];

/// Consul's own least time before it removes an entry that fails its checks.
const REMOVED_AFTER: &str = "1m";
/// Longest silence of an instance that reports by itself; a few reconcile rounds.
const TTL_ROUNDS: u32 = 3;

/// What a watch is made of.
pub(super) trait Listed: Clone + PartialEq + Send + Sync + 'static {
    /// Reads an entry; one that somebody else wrote may make no sense.
    fn read(service: &str, entry: &Entry) -> Option<Self>;

    fn id(&self) -> &InstanceId;

    /// Says how to find out whether it still answers.
    fn question(&self) -> Question;
}

/// How an instance shows that it still answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// It says over HTTP that it is ready.
    Ready(SocketAddr),
    /// It takes a connection.
    Connect(String, u16),
}

/// Writes the request that enters an instance.
///
/// Its port is where it speaks HTTP, if it does: Consul's DNS tells no other one, and who asks there is
/// a gateway. Our own calls take the port of gRPC from the meta.
pub(super) fn registration(
    instance: &Instance,
    registration: &str,
    settings: &Settings,
) -> RegisterServiceRequest {
    RegisterServiceRequest {
        id: Some(instance.id.to_string()),
        name: Some(instance.service.to_string()),
        address: Some(instance.grpc.ip().to_string()),
        port: Some(instance.http.unwrap_or(instance.grpc).port().into()),
        tags: Some(vec![
            format!("version={}", instance.version),
            "grpc".to_owned(),
        ]),
        meta: Some(meta(instance, registration, settings)),
        weights: Some(AgentWeights {
            passing: Some(settings.weight.map_or(1, |weight| weight.get().into())),
            warning: Some(1),
        }),
        checks: Some(checks(instance, settings)),
        ..RegisterServiceRequest::default()
    }
}

/// Returns the id of the check that an instance without a port reports to.
pub(super) fn ttl_check(instance: &Instance) -> Option<String> {
    (instance.grpc.port() == 0).then(|| format!("{}:ttl", instance.id))
}

/// Reads which registration an entry belongs to.
pub(super) fn registration_of(meta: Option<&HashMap<String, String>>) -> Option<&str> {
    meta?.get(REGISTRATION).map(String::as_str)
}

fn meta(instance: &Instance, registration: &str, settings: &Settings) -> HashMap<String, String> {
    let mut meta: HashMap<_, _> = instance.meta.clone().into_iter().collect();
    let mut enter = |name: &str, value: String| meta.insert(name.to_owned(), value);
    enter(VERSION, instance.version.clone());
    enter(PROTOCOL, "grpc".to_owned());
    enter(GRPC_PORT, instance.grpc.port().to_string());
    enter(REGISTRATION, registration.to_owned());
    if let Some(http) = instance.http {
        enter(HTTP_PORT, http.port().to_string());
    }
    for (name, value) in [
        (Instance::ZONE, settings.zone.clone()),
        (
            Instance::WEIGHT,
            settings.weight.map(|weight| weight.to_string()),
        ),
    ] {
        if let (None, Some(value)) = (instance.meta.get(name), value) {
            meta.insert(name.to_owned(), value);
        }
    }
    meta
}

/// An instance is entered when it is ready, so its checks begin as passing.
fn checks(instance: &Instance, settings: &Settings) -> Vec<AgentServiceCheck> {
    let base = |kind: &str| AgentServiceCheck {
        check_id: Some(format!("{}:{kind}", instance.id)),
        name: Some(format!("{kind} of {}", instance.service)),
        status: Some("passing".to_owned()),
        deregister_critical_service_after: Some(REMOVED_AFTER.to_owned()),
        ..AgentServiceCheck::default()
    };
    if instance.grpc.port() == 0 {
        return vec![AgentServiceCheck {
            ttl: Some(text(settings.reconcile_every * TTL_ROUNDS)),
            ..base("ttl")
        }];
    }
    let asked = |kind: &str| AgentServiceCheck {
        interval: Some(text(settings.check_every)),
        timeout: Some(text(settings.check_limit)),
        ..base(kind)
    };
    let grpc = AgentServiceCheck {
        // By its name: another service that has the address by now does not know it.
        grpc: Some(format!("{}/{}", instance.grpc, instance.service)),
        ..asked("grpc")
    };
    let http = instance.http.map(|http| AgentServiceCheck {
        http: Some(format!("http://{http}/readyz")),
        ..asked("http")
    });
    [grpc].into_iter().chain(http).collect()
}

fn text(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// The address of an entry: its node's where it has none of its own.
fn host(entry: &Entry) -> &str {
    match entry.service.address.as_str() {
        "" => &entry.node.address,
        own => own,
    }
}

impl Listed for Instance {
    fn read(service: &str, entry: &Entry) -> Option<Self> {
        let ip: IpAddr = host(entry).parse().ok()?;
        let service: ServiceName = service.parse().ok()?;
        let mut meta: BTreeMap<_, _> = entry.service.meta.clone()?.into_iter().collect();
        let [version, _, grpc_port, http_port, _] = OWN.map(|name| meta.remove(name));
        let port = |text: Option<String>| text.and_then(|port| port.parse().ok());
        let http = port(http_port);
        Some(Self {
            id: InstanceId::new(&entry.service.id),
            service,
            grpc: SocketAddr::new(ip, port(grpc_port).unwrap_or(entry.service.port)),
            http: http.map(|port| SocketAddr::new(ip, port)),
            version: version.unwrap_or_default(),
            meta,
        })
    }

    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn question(&self) -> Question {
        match self.http {
            Some(http) => Question::Ready(http),
            None => Question::Connect(self.grpc.ip().to_string(), self.grpc.port()),
        }
    }
}

impl Listed for Foreign {
    fn read(_: &str, entry: &Entry) -> Option<Self> {
        let meta = entry.service.meta.clone().unwrap_or_default();
        Some(Self {
            id: InstanceId::new(&entry.service.id),
            host: host(entry).to_owned(),
            port: entry.service.port,
            meta: meta.into_iter().collect(),
        })
    }

    fn id(&self) -> &InstanceId {
        &self.id
    }

    fn question(&self) -> Question {
        Question::Connect(self.host.clone(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::consul::endpoints::{Node, Service};

    fn instance() -> Instance {
        Instance {
            id: InstanceId::new("backend-1"),
            service: ServiceName::Backend,
            grpc: SocketAddr::from(([127, 0, 0, 1], 50051)),
            http: Some(SocketAddr::from(([127, 0, 0, 1], 8000))),
            version: "0.1.0".to_owned(),
            meta: BTreeMap::from([("name".to_owned(), "one".to_owned())]),
        }
    }

    fn settings() -> Settings {
        Settings {
            zone: Some("b".to_owned()),
            weight: std::num::NonZeroU16::new(3),
            ..Settings::new("127.0.0.1:8500")
        }
    }

    fn entered(instance: &Instance) -> Entry {
        let request = registration(instance, "r1", &settings());
        Entry {
            node: Node {
                address: "10.0.0.1".to_owned(),
            },
            service: Service {
                id: request.id.unwrap(),
                address: request.address.unwrap(),
                port: request.port.unwrap().try_into().unwrap(),
                meta: request.meta,
            },
        }
    }

    #[test]
    fn msh_04_an_instance_is_read_as_it_was_written() {
        let mut expected = instance();
        expected.meta.insert("zone".to_owned(), "b".to_owned());
        expected.meta.insert("weight".to_owned(), "3".to_owned());
        let entry = entered(&instance());
        assert_eq!(Instance::read("backend", &entry), Some(expected));
        assert_eq!(registration_of(entry.service.meta.as_ref()), Some("r1"));
        assert_eq!(Instance::read("stranger", &entry), None);
    }

    #[test]
    fn kng_01_the_port_of_an_entry_is_where_http_is_spoken() {
        assert_eq!(entered(&instance()).service.port, 8000);
        let only_grpc = Instance {
            http: None,
            ..instance()
        };
        assert_eq!(entered(&only_grpc).service.port, 50051);
    }

    #[test]
    fn msh_04_the_zone_of_an_instance_goes_before_the_settings() {
        let mut own = instance();
        own.meta.insert("zone".to_owned(), "own".to_owned());
        let read = Instance::read("backend", &entered(&own)).unwrap();
        assert_eq!(read.meta["zone"], "own");
    }

    #[test]
    fn msh_04_both_doors_are_checked_and_a_dead_entry_goes() {
        let checks = checks(&instance(), &settings());
        assert_eq!(checks[0].grpc.as_deref(), Some("127.0.0.1:50051/backend"));
        let readyz = "http://127.0.0.1:8000/readyz";
        assert_eq!(checks[1].http.as_deref(), Some(readyz));
        for check in checks {
            assert_eq!(check.interval.as_deref(), Some("2000ms"));
            assert_eq!(check.timeout.as_deref(), Some("1000ms"));
            let after = check.deregister_critical_service_after;
            assert_eq!(after.as_deref(), Some("1m"));
        }
    }

    #[test]
    fn an_instance_without_a_port_reports_by_itself() {
        let silent = Instance {
            grpc: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..instance()
        };
        let checks = checks(&silent, &settings());
        assert_eq!(checks.len(), 1);
        assert_eq!(checks[0].ttl.as_deref(), Some("30000ms"));
        assert_eq!(checks[0].check_id, ttl_check(&silent));
        assert_eq!(ttl_check(&instance()), None);
    }

    #[test]
    fn a_foreign_entry_may_lie_where_its_node_does() {
        let mut entry = entered(&instance());
        entry.service.address = String::new();
        entry.service.meta = None;
        let foreign = Foreign::read("ollama", &entry).unwrap();
        assert_eq!((foreign.host.as_str(), foreign.port), ("10.0.0.1", 8000));
        assert!(foreign.meta.is_empty());
    }
}
