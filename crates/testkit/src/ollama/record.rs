//! What a fake node saw.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::server::Connection;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method, in capitals.
    pub method: String,
    /// Path without query.
    pub path: String,
    /// Headers with lower-case names, in order.
    pub headers: Vec<(String, String)>,
    /// Body as JSON; null when it was empty or no JSON.
    pub body: Value,
    /// When its head had arrived.
    pub at: Instant,
}

impl Seen {
    /// Returns the first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    requests: Vec<Seen>,
    aborts: Vec<Instant>,
    in_flight: usize,
    peak: usize,
    produced: usize,
}

impl Record {
    pub(super) fn see(&self, seen: Seen) {
        self.0.lock().requests.push(seen);
    }

    pub(super) fn requests(&self) -> Vec<Seen> {
        self.0.lock().requests.clone()
    }

    pub(super) fn aborted(&self) -> usize {
        self.0.lock().aborts.len()
    }

    pub(super) fn abort_time(&self, count: usize) -> Option<Instant> {
        self.0.lock().aborts.get(count.checked_sub(1)?).copied()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.0.lock().in_flight
    }

    pub(super) fn peak(&self) -> usize {
        self.0.lock().peak
    }

    pub(super) fn produced(&self) -> usize {
        self.0.lock().produced
    }

    pub(super) fn produce(&self) {
        self.0.lock().produced += 1;
    }
}

/// An answer in the making. Dropped before [`Running::finish`], it counts as aborted by the other side, unless the
/// script made the node itself cut the connection.
pub(super) struct Running {
    record: Arc<Record>,
    connection: Connection,
    finished: bool,
}

impl Running {
    pub(super) fn begin(record: &Arc<Record>, connection: Connection) -> Self {
        let mut facts = record.0.lock();
        facts.in_flight += 1;
        facts.peak = facts.peak.max(facts.in_flight);
        drop(facts);
        Self {
            record: record.clone(),
            connection,
            finished: false,
        }
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    pub(super) fn finish(&mut self) {
        self.finished = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut facts = self.record.0.lock();
        facts.in_flight -= 1;
        if !self.finished && !self.connection.is_ours_to_cut() {
            facts.aborts.push(Instant::now());
        }
    }
}
