//! The settings that every service has.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use sutazai_mesh::{catalog::ServiceName, channel::Strategies};

use super::{Advertise, Profile, Reader};

/// Documented HTTP port of the backend on a developer's machine.
const BACKEND_HTTP: u16 = 10010;
/// Documented HTTP port of ollama-proxy on a developer's machine.
const OLLAMA_PROXY_HTTP: u16 = 10011;

/// Settings of every process: where it listens and how it stops.
#[derive(Clone, Debug)]
pub struct Base {
    /// How strict the process is.
    pub profile: Profile,
    /// Where it serves HTTP; port 0 takes a free one.
    pub http_listen: SocketAddr,
    /// Where it serves gRPC; port 0 takes a free one.
    pub grpc_listen: SocketAddr,
    /// Address that others reach it under, when it listens on every interface.
    pub advertise: Option<Advertise>,
    /// How the instances of other services are chosen.
    pub balancing: Strategies,
    /// How long open requests may go on after the stop began.
    pub drain_grace: Duration,
    /// How long it still accepts after leaving the registry, until watchers have seen that; as long
    /// as the registry says when absent.
    pub deregister_pause: Option<Duration>,
}

impl Base {
    /// Reads the settings, with the documented ports of `service` as defaults.
    pub fn read(reader: &mut Reader<'_>, service: ServiceName) -> Option<Self> {
        let profile = reader.profile();
        let http_port = match service {
            ServiceName::Backend => BACKEND_HTTP,
            ServiceName::OllamaProxy => OLLAMA_PROXY_HTTP,
            _ => 0,
        };
        let http_listen = reader.or(
            "HTTP_LISTEN",
            "address and port to serve HTTP on; port 0 takes a free one",
            SocketAddr::from((Ipv4Addr::LOCALHOST, http_port)),
        );
        let grpc_listen = reader.or(
            "GRPC_LISTEN",
            "address and port to serve gRPC on; port 0 takes a free one",
            SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        );
        let advertise = reader.optional(
            "ADVERTISE_ADDRESS",
            "IP address that other services reach this one under; `auto` finds it, as in a container",
        );
        let every_interface =
            grpc_listen.ip().is_unspecified() || http_listen.ip().is_unspecified();
        if every_interface && advertise.is_none() {
            reader.fault(
                "ADVERTISE_ADDRESS",
                "is required where HTTP_LISTEN or GRPC_LISTEN is every interface",
            );
        }
        let balancing = reader.or(
            "MESH_BALANCING",
            "how instances are chosen, as service=strategy with commas between; power_of_two where a \
             service is not named, else round_robin, weighted, random or consistent_hash",
            Strategies::default(),
        );
        let drain_grace = reader.seconds(
            "DRAIN_GRACE_SECONDS",
            "seconds that open requests may go on after the stop began",
            Duration::from_secs(20),
        );
        let deregister_pause = reader.optional_seconds(
            "DEREGISTER_PAUSE_SECONDS",
            "seconds between leaving the registry and refusing connections; 2 for Consul when absent",
        );
        Some(Self {
            profile,
            http_listen,
            grpc_listen,
            advertise,
            balancing,
            drain_grace,
            deregister_pause,
        })
    }
}
