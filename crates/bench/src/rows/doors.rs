//! The doors of the model fleet beside each other: direct, raw hyper, ours, peers.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use sutazai_mesh::catalog::ServiceName;

use crate::{
    failure::Failure,
    load::{self, Wire},
    peer::{litellm, nginx},
    row::Side,
    stage::{Core, Running, Stage, free_address},
    upstream::{ANSWER, MODEL},
};

/// Longest time for a program of ours to take work.
const LIMIT: Duration = Duration::from_secs(20);
/// Path of a chat.
pub(crate) const PATH: &str = "/v1/chat/completions";

/// Peers that pass chats on.
pub(super) const PEERS: [&str; 2] = [nginx::NAME, litellm::NAME];
/// Everybody who takes part where peers do.
pub(super) const SIDES: [Side; 5] = [
    Side::Direct,
    Side::Limit,
    Side::Ours,
    Side::Peer(PEERS[0]),
    Side::Peer(PEERS[1]),
];

/// Programs that pass a chat on to the same upstream.
#[derive(Debug)]
pub(super) struct Doors {
    upstream: SocketAddr,
    limit: (SocketAddr, Running),
    ours: (SocketAddr, Running),
    peers: Vec<(&'static str, SocketAddr, Running)>,
    key: String,
}

impl Doors {
    /// Starts all of them, each alone on the server's core; they work in turn.
    pub(super) async fn open(stage: &Stage, peers: &[&'static str]) -> Result<Self, Failure> {
        let platform = stage.platform().await?;
        let (key, upstream) = (platform.api_key()?, platform.node());
        let at = free_address()?;
        let proxy = [at.port().to_string(), upstream.to_string()];
        let limit = stage
            .start(&stage.part("proxy", proxy), Core::Server)
            .await?;
        limit.ready(at, "/api/version", LIMIT).await?;
        let limit = (at, limit);
        let at = free_address()?;
        let twin = stage.twin(ServiceName::OllamaProxy, at).await?;
        let ours = stage.start(&twin, Core::Server).await?;
        ours.ready(at, "/health", LIMIT).await?;
        let mut doors = Self {
            upstream,
            limit,
            ours: (at, ours),
            peers: Vec::new(),
            key,
        };
        if stage.peers() {
            for name in peers {
                let (at, running) = match *name {
                    nginx::NAME => nginx::start(stage, upstream).await?,
                    _ => litellm::start(stage, upstream, &doors.key).await?,
                };
                doors.peers.push((name, at, running));
            }
        }
        Ok(doors)
    }

    /// Returns where a side listens.
    pub(super) fn address(&self, side: Side) -> Result<SocketAddr, Failure> {
        Ok(match side {
            Side::Direct => self.upstream,
            Side::Limit => self.limit.0,
            Side::Ours => self.ours.0,
            Side::Peer(name) => {
                let found = self.peers.iter().find(|(peer, ..)| *peer == name);
                found
                    .ok_or(Failure::Missing(name, "it was not started".to_owned()))?
                    .1
            }
        })
    }

    /// Returns the process of a side that has one.
    pub(super) fn running(&self, side: Side) -> Option<&Running> {
        match side {
            Side::Direct => None,
            Side::Limit => Some(&self.limit.1),
            Side::Ours => Some(&self.ours.1),
            Side::Peer(name) => {
                let found = self.peers.iter().find(|(peer, ..)| *peer == name);
                found.map(|(.., running)| running)
            }
        }
    }

    /// Returns a chat to a side, with the key that ours asks for.
    pub(super) fn chat(&self, side: Side, body: &str) -> Result<Wire, Failure> {
        Ok(load::request(
            self.address(side)?,
            PATH,
            Some(&self.key),
            Some(body),
        ))
    }

    /// Stops all of them.
    pub(super) async fn close(self) {
        self.limit.1.stop().await;
        self.ours.1.stop().await;
        for (.., running) in self.peers {
            running.stop().await;
        }
    }
}

/// The body of a chat that is answered at once: 92 bytes.
pub(crate) fn short_chat() -> String {
    format!(
        r#"{{"model":"{MODEL}","messages":[{{"role":"user","content":"Is it well? Say so at once"}}]}}"#
    )
}

/// LiteLLM writes answers anew; everybody else has to pass on the very bytes.
pub(super) fn same_body(side: Side) -> Option<Bytes> {
    (side != Side::Peer(litellm::NAME)).then(|| Bytes::from_static(ANSWER.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_the_size_that_the_table_says() {
        assert_eq!(short_chat().len(), 92);
    }
}
