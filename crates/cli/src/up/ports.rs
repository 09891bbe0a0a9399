//! Where the servers and the doors listen: documented ports, or free ones.

use std::{
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
};

use sutazai_mesh::catalog::ServiceName;

use super::Error;
use crate::site;

/// Distance between the doors of two replicas.
const REPLICA: u16 = 100;

/// Where free ports are looked for.
const QUIET: Range<u16> = 20_000..32_000;
/// Ports that nobody is told of.
const INNER: usize = 7;
/// Ports that are tried before the machine counts as full.
const ATTEMPTS: u32 = 1000;

/// Ports on 127.0.0.1 (PORT-01).
#[derive(Clone, Copy, Debug)]
pub(super) struct Ports {
    pub(super) postgres: u16,
    pub(super) redis: u16,
    pub(super) consul: u16,
    pub(super) amqp: u16,
    pub(super) management: u16,
    backend: u16,
    ollama_proxy: u16,
    ollama: u16,
    pub(super) kong: u16,
    kong_admin: u16,
    /// What servers use among themselves: Consul's other five, RabbitMQ's port mapper and its nodes.
    pub(super) inner: [u16; INNER],
    /// Whether replicas have documented ports too.
    documented: bool,
}

impl Ports {
    /// Returns the documented ports, which must not be taken.
    ///
    /// # Errors
    /// Names the first that somebody else listens on.
    pub(super) fn documented(replicas: u16) -> Result<Self, Error> {
        let ports = Self {
            postgres: 10000,
            redis: 10001,
            consul: 10006,
            amqp: 10007,
            management: 10008,
            backend: 10010,
            ollama_proxy: 10011,
            ollama: 10104,
            kong: 10005,
            kong_admin: 10015,
            inner: quiet().map_err(site::Error::Secrets)?,
            documented: true,
        };
        let servers = [
            ("postgres", ports.postgres),
            ("redis", ports.redis),
            ("consul", ports.consul),
            ("rabbitmq", ports.amqp),
            ("rabbitmq's pages", ports.management),
        ];
        let doors = (0..replicas).flat_map(|replica| {
            [ServiceName::Backend, ServiceName::OllamaProxy]
                .map(|door| (door.as_str(), ports.of(door, replica)))
        });
        for (what, port) in servers.into_iter().chain(doors) {
            must_be_free(what, port)?;
        }
        Ok(ports)
    }

    /// Returns ports that nobody listens on now.
    ///
    /// # Errors
    /// Fails when the machine has none.
    pub(super) fn free() -> io::Result<Self> {
        let [
            postgres,
            redis,
            consul,
            amqp,
            management,
            backend,
            ollama_proxy,
            ollama,
            kong,
            kong_admin,
            inner @ ..,
        ] = quiet::<{ 10 + INNER }>()?;
        Ok(Self {
            postgres,
            redis,
            consul,
            amqp,
            management,
            backend,
            ollama_proxy,
            ollama,
            kong,
            kong_admin,
            inner,
            documented: false,
        })
    }

    /// Returns the port of the Ollama that a platform without a model node starts.
    ///
    /// # Errors
    /// Somebody else listens there.
    pub(super) fn ollama(&self) -> Result<u16, Error> {
        must_be_free("ollama", self.ollama)?;
        Ok(self.ollama)
    }

    /// Returns the ports of Kong: for clients, and for whoever operates it.
    ///
    /// # Errors
    /// Somebody else listens on one of them.
    pub(super) fn kong(&self) -> Result<(u16, u16), Error> {
        must_be_free("kong", self.kong)?;
        must_be_free("kong's admin API", self.kong_admin)?;
        Ok((self.kong, self.kong_admin))
    }

    /// Returns the base URL of the first instance of a door.
    pub(super) fn door(&self, service: ServiceName) -> String {
        format!("http://127.0.0.1:{}", self.of(service, 0))
    }

    /// Returns the HTTP port of a replica; 0, which takes a free one, for a service that is found
    /// through the registry only.
    pub(super) fn of(&self, service: ServiceName, replica: u16) -> u16 {
        let door = match service {
            ServiceName::Backend => self.backend,
            ServiceName::OllamaProxy => self.ollama_proxy,
            _ => return 0,
        };
        match (replica, self.documented) {
            (0, _) => door,
            (_, true) => door + REPLICA * replica,
            (_, false) => 0,
        }
    }
}

fn must_be_free(what: &'static str, port: u16) -> Result<(), Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let taken = |source| Error::PortTaken { what, port, source };
    bound.map(drop).map_err(taken)
}

/// Finds free ports below those that the kernel gives to outgoing connections: such a one may be in
/// use for a moment when a server wants to listen on it, or to listen again after its end.
fn quiet<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    // All are held until the last is found, so that they differ.
    let mut held = Vec::with_capacity(COUNT);
    for port in &mut ports {
        let found = (0..ATTEMPTS).find_map(|_| {
            let port = rand::random_range(QUIET);
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok()
        });
        let listener = found.ok_or(io::ErrorKind::AddrInUse)?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_01_replicas_stand_a_hundred_apart() {
        let ports = Ports {
            documented: true,
            backend: 10010,
            ollama_proxy: 10011,
            ..Ports::free().unwrap()
        };
        assert_eq!(ports.of(ServiceName::Backend, 1), 10110);
        assert_eq!(ports.of(ServiceName::OllamaProxy, 2), 10211);
        assert_eq!(ports.of(ServiceName::TaskCoordinator, 1), 0);
    }
}
