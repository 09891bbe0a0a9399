//! The address that other services reach a process under.

use std::{
    io,
    net::{AddrParseError, IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    str::FromStr,
};

/// An address outside every network (TEST-NET-1 of RFC 5737): the way to it is the way to others.
const OUTSIDE: (Ipv4Addr, u16) = (Ipv4Addr::new(192, 0, 2, 1), 9);

/// The address that other services reach a process under, where it listens on every interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertise {
    /// This one.
    Fixed(IpAddr),
    /// The one of the interface that leads to others, as in a container, which learns its address
    /// only when it runs.
    Auto,
}

impl FromStr for Advertise {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            address => address.parse().map(Self::Fixed),
        }
    }
}

impl Advertise {
    /// Returns the address under which others reach `listening`.
    ///
    /// # Errors
    /// Fails when the address is to be found and no interface leads anywhere.
    pub fn address_of(self, listening: SocketAddr) -> io::Result<SocketAddr> {
        if !listening.ip().is_unspecified() {
            return Ok(listening);
        }
        let ip = match self {
            Self::Fixed(ip) => ip,
            Self::Auto => outgoing()?,
        };
        Ok(SocketAddr::new(ip, listening.port()))
    }
}

/// Connecting a datagram socket sends nothing; it only chooses the interface.
fn outgoing() -> io::Result<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(OUTSIDE)?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_that_nobody_can_reach_is_replaced() {
        let fixed: Advertise = "10.1.2.3".parse().unwrap();
        let every: SocketAddr = "0.0.0.0:50051".parse().unwrap();
        let one: SocketAddr = "127.0.0.1:50051".parse().unwrap();
        let reached = fixed.address_of(every).unwrap();
        assert_eq!(reached.to_string(), "10.1.2.3:50051");
        assert_eq!(fixed.address_of(one).unwrap(), one);
    }

    #[test]
    fn an_address_is_found_or_its_absence_is_said() {
        let auto: Advertise = "auto".parse().unwrap();
        let every: SocketAddr = "0.0.0.0:50051".parse().unwrap();
        // A machine without any route is a fault, never an address that nobody can reach.
        if let Ok(reached) = auto.address_of(every) {
            assert!(!reached.ip().is_unspecified());
        }
        assert!("everywhere".parse::<Advertise>().is_err());
    }
}
