//! The connections to one instance: one, and one more whenever all are full.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use parking_lot::Mutex;

use super::link::Link;
use super::member::Unreached;

/// Most calls on one connection. A server takes no more than it says at once, ours 200: a call beyond waits
/// unseen behind the others, and those may be streams that last for hours.
pub(super) const CALLS: u32 = 100;
/// Most connections to one instance. When all are full, the emptiest takes more.
const CONNECTIONS: usize = 20;

/// A connection that is being opened, or is open: all who wait for it get the same one.
pub(super) type Opening = Shared<BoxFuture<'static, Result<Link, Unreached>>>;

/// The connections to one instance.
#[derive(Default)]
pub(super) struct Connections(Mutex<Vec<Arc<Connection>>>);

/// One of them, with the calls on it.
struct Connection {
    link: Opening,
    calls: AtomicU32,
}

/// One call on a connection, until it is dropped.
pub(super) struct Slot(Arc<Connection>);

impl Connections {
    /// Returns a connection with a slot on it, opening one where none has room.
    ///
    /// While one is being opened nobody opens another: however many call an instance that is gone, one
    /// connection finds it out.
    pub(super) async fn slot(&self, open: impl Fn() -> Opening) -> Result<(Link, Slot), Unreached> {
        loop {
            let (connection, limit) = self.choose(&open);
            let link = connection.link.clone().await?;
            // Where many waited for it, others may have filled it.
            if let Some(slot) = connection.take_slot(limit) {
                return Ok((link, slot));
            }
        }
    }

    /// Returns the first with room, else a new one, else the emptiest; and how many calls it may carry.
    fn choose(&self, open: impl Fn() -> Opening) -> (Arc<Connection>, u32) {
        let mut all = self.0.lock();
        all.retain(|connection| !connection.is_over());
        if let Some(first) = all.iter().find(|connection| connection.calls() < CALLS) {
            return (Arc::clone(first), CALLS);
        }
        if all.len() >= CONNECTIONS
            && let Some(emptiest) = all.iter().min_by_key(|connection| connection.calls())
        {
            return (Arc::clone(emptiest), u32::MAX);
        }
        let link = open();
        // It goes on whoever waits: one that all gave up on would stay as it is, and fail whoever comes
        // next by a clock that has run out.
        tokio::spawn(link.clone().map(drop));
        let connection = Arc::new(Connection {
            link,
            calls: AtomicU32::new(0),
        });
        all.push(Arc::clone(&connection));
        (connection, CALLS)
    }
}

impl Connection {
    fn calls(&self) -> u32 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Tells whether it has ended, or was never there.
    fn is_over(&self) -> bool {
        match self.link.peek() {
            Some(Ok(link)) => link.is_closed(),
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// Takes a slot, unless so many are taken.
    fn take_slot(self: &Arc<Self>, limit: u32) -> Option<Slot> {
        let more = |calls| (calls < limit).then_some(calls + 1);
        self.calls
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()
            .map(|_| Slot(Arc::clone(self)))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::channel::link::ConnectError;

    /// How long it takes to find out that nobody is there.
    const TAKES: Duration = Duration::from_secs(5);

    /// Finds out that nobody is there, and holds this until then.
    fn opening(held: &Arc<()>) -> Opening {
        let held = Arc::clone(held);
        let opening = async move {
            sleep(TAKES).await;
            drop(held);
            Err::<Link, _>(Unreached::new(ConnectError::TimedOut))
        };
        opening.boxed().shared()
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_that_all_gave_up_on_ends_and_the_next_call_opens_anew() {
        let (connections, held) = (Connections::default(), Arc::new(()));
        let opened = AtomicU32::new(0);
        let open = || {
            opened.fetch_add(1, Ordering::Relaxed);
            opening(&held)
        };
        assert!(connections.slot(open).now_or_never().is_none());
        sleep(TAKES * 2).await;
        assert_eq!(Arc::strong_count(&held), 1, "it is still on its way");

        let began = Instant::now();
        assert!(connections.slot(open).await.is_err());
        assert_eq!(opened.load(Ordering::Relaxed), 2);
        assert!(began.elapsed() >= TAKES, "it had the clock of the first");
    }

    #[tokio::test(start_paused = true)]
    async fn an_opening_outlives_its_instance_no_longer_than_it_takes() {
        let (connections, held) = (Connections::default(), Arc::new(()));
        let open = || opening(&held);
        assert!(connections.slot(open).now_or_never().is_none());
        drop(connections);
        sleep(TAKES * 2).await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
