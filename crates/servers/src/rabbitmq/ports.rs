//! The ports of a node.

use std::io;

use crate::child;

/// Ports on 127.0.0.1; where one is absent, a free one is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// AMQP 0.9.1.
    pub amqp: Option<u16>,
    /// The management API and its pages.
    pub management: Option<u16>,
    /// The port mapper of Erlang: one for each node, so that several nodes never meet.
    pub epmd: Option<u16>,
    /// Erlang's distribution, which `rabbitmqctl` uses.
    pub distribution: Option<u16>,
    /// Metrics as Prometheus text; the plugin is off when this is absent.
    pub prometheus: Option<u16>,
}

impl Ports {
    /// Puts free ports where there is none yet.
    pub(super) fn filled(self) -> io::Result<Self> {
        let [amqp, management, epmd, distribution] = child::free_ports()?;
        Ok(Self {
            amqp: self.amqp.or(Some(amqp)),
            management: self.management.or(Some(management)),
            epmd: self.epmd.or(Some(epmd)),
            distribution: self.distribution.or(Some(distribution)),
            prometheus: self.prometheus,
        })
    }
}

/// Writes a port that has been filled in.
pub(super) fn text(port: Option<u16>) -> String {
    port.unwrap_or_default().to_string()
}
