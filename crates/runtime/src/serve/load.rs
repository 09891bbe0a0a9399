//! How much a listener carries: open connections as a metric, open requests of one connection.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use metrics::Gauge;
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::names;
use tokio::sync::watch;

/// Counts one open connection while it lives.
pub(super) struct ConnectionGauge(Gauge);

impl ConnectionGauge {
    pub(super) fn new(service: ServiceName) -> Self {
        let gauge = metrics::gauge!(names::ACTIVE_CONNECTIONS, "service" => service.as_str());
        gauge.increment(1.0);
        Self(gauge)
    }
}

impl Drop for ConnectionGauge {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// The open requests of one connection.
#[derive(Clone, Debug)]
pub(super) struct Requests(Arc<State>);

#[derive(Debug)]
struct State {
    open: watch::Sender<usize>,
    any: AtomicBool,
}

/// One open request, from its head to the end of its answer.
#[derive(Debug)]
pub(crate) struct OpenRequest(Requests);

impl Requests {
    pub(super) fn new() -> Self {
        Self(Arc::new(State {
            open: watch::Sender::new(0),
            any: AtomicBool::new(false),
        }))
    }

    /// Counts a request until what it returns is dropped.
    pub(super) fn begin(&self) -> OpenRequest {
        self.0.any.store(true, Ordering::Relaxed);
        self.0.open.send_modify(|open| *open += 1);
        OpenRequest(self.clone())
    }

    /// Tells whether the connection has ever carried a request.
    pub(super) fn any(&self) -> bool {
        self.0.any.load(Ordering::Relaxed)
    }

    /// Waits until no request is open.
    pub(super) async fn until_idle(&self) {
        // The sender lives in `self`, so waiting can not fail.
        let _ = self.0.open.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.0.open.send_modify(|open| *open -= 1);
    }
}
