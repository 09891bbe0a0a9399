//! Optional, lossy reports of how far an attempt is.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use serde::Serialize;
use sutazai_proto::tasks::v1::TaskProgress;
use tokio::{sync::mpsc, time::Instant};

use crate::json_payload;

/// Shortest time between two reports of one attempt.
const INTERVAL: Duration = Duration::from_millis(100);

/// Takes reports of one attempt; those that come too fast, or before the claim, are dropped.
#[derive(Clone, Debug)]
pub struct Progress(Option<Arc<Reports>>);

#[derive(Debug)]
struct Reports {
    task_id: String,
    /// Set once the claim assigned it.
    attempt: OnceLock<u32>,
    newest: Mutex<Option<Instant>>,
    queue: mpsc::Sender<TaskProgress>,
}

impl Progress {
    /// Makes one whose reports nobody reads, for running an agent without a worker.
    pub fn silent() -> Self {
        Self(None)
    }

    pub(crate) fn new(task_id: &str, queue: mpsc::Sender<TaskProgress>) -> Self {
        Self(Some(Arc::new(Reports {
            task_id: task_id.to_owned(),
            attempt: OnceLock::new(),
            newest: Mutex::new(None),
            queue,
        })))
    }

    pub(crate) fn assign(&self, attempt: u32) {
        if let Some(reports) = &self.0 {
            // A second assignment can not happen, and the first one would be right.
            let _ = reports.attempt.set(attempt);
        }
    }

    /// Tells whether a report would go out now, so that what it costs to make one can be spared.
    pub fn ready(&self) -> bool {
        self.0.as_ref().is_some_and(|reports| {
            reports.attempt.get().is_some()
                && reports.queue.capacity() > 0
                && reports
                    .newest
                    .lock()
                    .is_none_or(|at| at.elapsed() >= INTERVAL)
        })
    }

    /// Sends a report as JSON if one may go out now; returns whether it did.
    pub fn report(&self, value: &impl Serialize) -> bool {
        if !self.ready() {
            return false;
        }
        let Some((reports, data)) = self.0.as_ref().zip(json_payload(value).ok()) else {
            return false;
        };
        let Some(attempt) = reports.attempt.get() else {
            return false;
        };
        let sent = reports.queue.try_send(TaskProgress {
            task_id: reports.task_id.clone(),
            attempt: *attempt,
            data: Some(data),
        });
        if sent.is_ok() {
            *reports.newest.lock() = Some(Instant::now());
        }
        sent.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn reports_are_dropped_before_the_claim_too_fast_or_unread() {
        let (queue, mut reports) = mpsc::channel(2);
        let progress = Progress::new("t", queue);
        assert!(!progress.report(&"before the claim"));
        progress.assign(3);
        assert!(progress.report(&"first"));
        assert!(!progress.report(&"too fast"));
        tokio::time::advance(INTERVAL).await;
        assert!(progress.report(&"second"));
        tokio::time::advance(INTERVAL).await;
        assert!(!progress.report(&"nobody reads"));

        let first = reports.recv().await.unwrap();
        assert_eq!(
            (first.attempt, first.data.unwrap().data.as_ref()),
            (3, &b"\"first\""[..])
        );
        assert_eq!(
            reports.recv().await.unwrap().data.unwrap().data.as_ref(),
            b"\"second\""
        );
    }

    #[test]
    fn a_silent_one_takes_nothing() {
        assert!(!Progress::silent().report(&1));
    }
}
