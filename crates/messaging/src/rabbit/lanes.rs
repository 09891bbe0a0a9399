//! A bounded pool of channels that publish, each used by one publisher at a time.

use std::sync::Arc;

use lapin::Channel;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::failure::unavailable;
use super::link::Link;
use crate::broker::BrokerError;

/// How many may publish at a time.
const LANES: usize = 16;

/// The channels that publish; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Lanes {
    link: Link,
    places: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Channel>>>,
}

/// A channel in confirm mode that nobody else uses. It is closed unless it is kept: after a failure
/// nobody knows which confirms are still to come on it.
pub(super) struct Lane {
    pub(super) channel: Channel,
    idle: Arc<Mutex<Vec<Channel>>>,
    _place: OwnedSemaphorePermit,
}

impl Lanes {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            places: Arc::new(Semaphore::new(LANES)),
            idle: Arc::default(),
        }
    }

    /// Waits for a place, then takes an idle channel or opens one.
    pub(super) async fn take(&self) -> Result<Lane, BrokerError> {
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(unavailable)?;
        self.link.unless_blocked().await?;
        let channel = match self.standing() {
            Some(channel) => channel,
            None => self.link.confirming_channel().await?,
        };
        Ok(Lane {
            channel,
            idle: Arc::clone(&self.idle),
            _place: place,
        })
    }

    /// Takes an idle channel that the broker has not closed meanwhile.
    fn standing(&self) -> Option<Channel> {
        let mut idle = self.idle.lock();
        idle.retain(|channel| channel.status().connected());
        idle.pop()
    }
}

impl Lane {
    /// Gives the channel back: nothing is in flight on it.
    pub(super) fn keep(self) {
        self.idle.lock().push(self.channel);
    }
}
