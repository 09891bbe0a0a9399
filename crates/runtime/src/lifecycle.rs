//! How a process is told to stop: first gently, then at once.

use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The request to stop, shared by everything in a process.
///
/// It has two phases: *draining* lets open work end within its grace, *aborted* drops it. Aborting
/// implies draining. Clones are the same request; a [`child`](Self::child) follows its parent and
/// can also be stopped alone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    aborted: CancellationToken,
}

impl Shutdown {
    /// Makes a request that nobody has made yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a request that follows this one but leaves this one alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            draining: self.draining.child_token(),
            aborted: self.aborted.child_token(),
        }
    }

    /// Asks for the stop: no further work, and open work ends within its grace.
    pub fn trigger(&self) {
        self.draining.cancel();
    }

    /// Asks to drop open work at once.
    pub fn abort(&self) {
        self.draining.cancel();
        self.aborted.cancel();
    }

    /// Moves one phase further: what a signal does.
    pub fn advance(&self) {
        if self.is_draining() {
            self.abort();
        } else {
            self.trigger();
        }
    }

    /// Waits for the stop to begin.
    pub async fn draining(&self) {
        self.draining.cancelled().await;
    }

    /// Waits for open work to be dropped.
    pub async fn aborted(&self) {
        self.aborted.cancelled().await;
    }

    /// Tells whether the stop has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Tells whether open work is dropped.
    pub fn is_aborted(&self) -> bool {
        self.aborted.is_cancelled()
    }
}

/// Turns SIGINT and SIGTERM into `shutdown`: the first one drains, the second one aborts.
///
/// This is the only signal handler of a process; it never returns.
pub async fn signals(shutdown: Shutdown) {
    use tokio::signal::unix::{SignalKind, signal};
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that owns the signals"
    )]
    let streams = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (mut interrupt, mut terminate) = match streams {
        (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
        (Err(cause), _) | (_, Err(cause)) => {
            error!(%cause, "signals can not be received, so only their default action is left");
            return std::future::pending().await;
        }
    };
    loop {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        shutdown.advance();
        if shutdown.is_aborted() {
            warn!(signal = name, "second signal, open work is dropped");
        } else {
            info!(signal = name, "signal, open work may end");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_signal_aborts() {
        let shutdown = Shutdown::new();
        assert!(!shutdown.is_draining());
        shutdown.advance();
        assert!(shutdown.is_draining() && !shutdown.is_aborted());
        shutdown.advance();
        assert!(shutdown.is_aborted());
    }

    #[tokio::test]
    async fn a_child_follows_its_parent_and_not_the_other_way() {
        let parent = Shutdown::new();
        let (one, other) = (parent.child(), parent.child());
        one.abort();
        assert!(!parent.is_draining() && !other.is_draining());
        parent.abort();
        other.draining().await;
        other.aborted().await;
    }

    #[test]
    fn aborting_begins_the_stop_too() {
        let shutdown = Shutdown::new();
        shutdown.abort();
        assert!(shutdown.is_draining());
    }
}
