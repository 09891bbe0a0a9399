//! The answer of a node as it arrives, within the limits on silence and on the whole.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::{HeaderMap, StatusCode};
use metrics::histogram;
use sutazai_resilience::Deadline;
use sutazai_telemetry::names;
use tokio::time::Instant;

use super::admission::Slot;
use crate::{
    config::Limits,
    error::{Error, Fault},
};

/// An answer whose head is there. Dropping it aborts the node's request and frees the slot.
pub(crate) struct Reply {
    pub(crate) node: Arc<str>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    /// Whether a byte arrived: before it the limit of the opening holds, after it the one on
    /// silence.
    started: bool,
    window: Window,
    meter: Meter,
    _slot: Slot,
}

/// When a request has to be over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) limits: Limits,
    /// End of what the limits allow.
    pub(super) total: Deadline,
    /// End of what the caller allows, if it said so.
    pub(super) caller: Option<Deadline>,
}

/// Measures the whole answer, whatever its end.
struct Meter {
    model: Arc<str>,
    node: Arc<str>,
    since: Instant,
    outcome: &'static str,
}

impl Window {
    /// Says whose limit is over when the answer is late, and by that whose fault it is.
    pub(super) fn over(&self, node: &str) -> Option<Error> {
        if self
            .caller
            .is_some_and(|caller| caller.is_over() && caller < self.total)
        {
            return Some(Error::Deadline);
        }
        let fault = Fault::Total(self.limits.total);
        self.total.is_over().then(|| Error::Node {
            node: node.to_owned(),
            fault,
        })
    }

    pub(super) fn end(&self) -> Deadline {
        self.caller
            .map_or(self.total, |caller| self.total.earlier(caller))
    }
}

impl Reply {
    pub(super) fn new(
        response: reqwest::Response,
        node: Arc<str>,
        model: Arc<str>,
        window: Window,
        slot: Slot,
    ) -> Self {
        Self {
            status: response.status(),
            headers: response.headers().clone(),
            body: Box::pin(response.bytes_stream()),
            started: false,
            window,
            meter: Meter {
                model,
                node: node.clone(),
                since: Instant::now(),
                outcome: "abandoned",
            },
            node,
            _slot: slot,
        }
    }

    /// Returns the next bytes, at least one, or nothing at the regular end.
    ///
    /// # Errors
    ///
    /// [`Error::Node`] when the node breaks off, falls silent or takes too long;
    /// [`Error::Deadline`].
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        let next = self.read().await;
        match &next {
            Ok(Some(_)) => self.started = true,
            Ok(None) => self.meter.outcome = "finished",
            Err(_) => self.meter.outcome = "failed",
        }
        next
    }

    async fn read(&mut self) -> Result<Option<Bytes>, Error> {
        let silence = self.window.limits.silence;
        let end = if self.started {
            self.window.end().earlier(Deadline::after(silence))
        } else {
            self.window.end()
        };
        loop {
            let chunk = end.run(self.body.next()).await.map_err(|_| {
                self.window
                    .over(&self.node)
                    .unwrap_or_else(|| self.fault(Fault::Silence(silence)))
            })?;
            match chunk {
                None => return Ok(None),
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => return Ok(Some(bytes)),
                Some(Err(error)) => {
                    return Err(self.fault(Fault::BrokenOff(Some(error.without_url()))));
                }
            }
        }
    }

    /// Reads to the end after everything of interest is there, so that the connection can be used
    /// again; gives up soon.
    pub(crate) async fn finish(mut self, patience: Duration) {
        self.meter.outcome = "finished";
        let _ = tokio::time::timeout(patience, async {
            while let Some(Ok(_)) = self.body.next().await {}
        })
        .await;
    }

    /// Makes the error of this node.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        Error::Node {
            node: self.node.to_string(),
            fault,
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        histogram!(
            names::INFERENCE_DURATION_SECONDS,
            "model" => self.model.to_string(),
            "node" => self.node.to_string(),
            "outcome" => self.outcome,
        )
        .record(self.since.elapsed());
    }
}
