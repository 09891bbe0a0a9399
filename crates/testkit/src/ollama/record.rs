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

/// One generation or embedding that is over.
#[derive(Clone, Debug)]
pub struct End {
    /// Body of its request.
    pub asked: Value,
    /// When it was over.
    pub at: Instant,
    /// Whether the other side had left before the whole answer was said.
    pub is_aborted: bool,
}

#[derive(Debug, Default)]
pub(super) struct Record(Mutex<Facts>);

#[derive(Debug, Default)]
struct Facts {
    requests: Vec<Seen>,
    ends: Vec<End>,
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
        self.0.lock().aborts().count()
    }

    pub(super) fn ends(&self) -> Vec<End> {
        self.0.lock().ends.clone()
    }

    pub(super) fn abort_time(&self, count: usize) -> Option<Instant> {
        self.0.lock().aborts().nth(count.checked_sub(1)?)
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

impl Facts {
    fn aborts(&self) -> impl Iterator<Item = Instant> {
        let aborted = self.ends.iter().filter(|end| end.is_aborted);
        aborted.map(|end| end.at)
    }
}

/// An answer in the making. Dropped before [`Running::finish`], it counts as aborted by the other side, unless the
/// script made the node itself cut the connection.
pub(super) struct Running {
    record: Arc<Record>,
    connection: Connection,
    asked: Value,
    finished: bool,
}

impl Running {
    pub(super) fn begin(record: &Arc<Record>, connection: Connection, asked: Value) -> Self {
        let mut facts = record.0.lock();
        facts.in_flight += 1;
        facts.peak = facts.peak.max(facts.in_flight);
        drop(facts);
        Self {
            record: record.clone(),
            connection,
            asked,
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
        facts.ends.push(End {
            asked: self.asked.take(),
            at: Instant::now(),
            is_aborted: !self.finished && !self.connection.is_ours_to_cut(),
        });
    }
}
