//! How much a listener carries: open connections as a metric, open requests of one connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use metrics::Gauge;
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::names;
use tokio::sync::Notify;

/// The metric of a service's open connections; its recorder takes 2,500 instructions to find it, so a
/// listener has it found once.
#[derive(Clone)]
pub(super) struct Connections(Gauge);

/// Counts one open connection while it lives.
pub(super) struct OpenConnection(Gauge);

impl Connections {
    pub(super) fn of(service: ServiceName) -> Self {
        Self(metrics::gauge!(names::ACTIVE_CONNECTIONS, "service" => service.as_str()))
    }

    pub(super) fn open(&self) -> OpenConnection {
        self.0.increment(1.0);
        OpenConnection(self.0.clone())
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The open requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests(Arc<State>);

/// A count and a word, not a watch channel: every request changes it twice, and hardly anybody waits.
#[derive(Debug)]
struct State {
    open: AtomicUsize,
    idle: Notify,
    any: AtomicBool,
}

/// One open request, from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct OpenRequest(Requests);

impl Requests {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            open: AtomicUsize::new(0),
            idle: Notify::new(),
            any: AtomicBool::new(false),
        }))
    }

    /// Counts a request until what it returns is dropped.
    pub(super) fn begin(&self) -> OpenRequest {
        self.0.any.store(true, Ordering::Relaxed);
        self.0.open.fetch_add(1, Ordering::AcqRel);
        OpenRequest(self.clone())
    }

    /// Tells whether the connection has ever carried a request.
    pub(super) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Waits until no request is open.
    pub(super) async fn until_idle(&self) {
        loop {
            // Made before the look: it hears of every end after that.
            let idle = self.0.idle.notified();
            if self.0.open.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        let state = &self.0.0;
        if state.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            state.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    #[tokio::test]
    async fn who_waits_for_the_end_of_the_open_requests_hears_of_the_last_one() {
        let requests = Requests::new();
        requests.until_idle().await;
        assert!(!requests.any());
        let (first, second) = (requests.begin(), requests.begin());
        let mut idle = std::pin::pin!(requests.until_idle());
        assert!(poll!(idle.as_mut()).is_pending());
        drop(first);
        assert!(poll!(idle.as_mut()).is_pending());
        drop(second);
        assert!(poll!(idle.as_mut()).is_ready());
        assert!(requests.any());
    }
}
