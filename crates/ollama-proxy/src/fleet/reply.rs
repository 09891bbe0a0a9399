//! The answer of a node as it arrives, within the limits on silence and on the whole.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::FutureExt;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use sutazai_mesh::http::{Answer, AnswerBody};
use sutazai_resilience::{Deadline, Elapsed};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{admission::Slot, instruments::OfModel};
use crate::{
    config::Limits,
    error::{Error, Fault},
};

/// An answer whose head is there. Dropping it aborts the node's request and frees the slot.
pub(crate) struct Reply {
    pub(crate) node: Arc<str>,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: AnswerBody,
    /// Whether a byte arrived: before it the limit of the opening holds, after it the one on
    /// silence.
    started: bool,
    /// Wakes a reader who may have waited for too long.
    alarm: Option<Pin<Box<Sleep>>>,
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
    instruments: Arc<OfModel>,
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
        answer: Answer,
        node: Arc<str>,
        instruments: Arc<OfModel>,
        window: Window,
        slot: Slot,
    ) -> Self {
        let (head, body) = answer.into_parts();
        Self {
            status: head.status,
            headers: head.headers,
            body,
            started: false,
            alarm: None,
            window,
            meter: Meter {
                instruments,
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
        let (end, silence) = (self.window.end(), self.window.limits.silence);
        // A talkative node does not outlive the whole either.
        let read = if end.is_over() {
            Err(Elapsed)
        } else {
            let late = if self.started {
                end.earlier(Deadline::after(silence))
            } else {
                end
            };
            poll_fn(|cx| self.poll_bytes(late, cx)).await
        };
        match read {
            Ok(bytes) => bytes
                .transpose()
                .map_err(|error| self.fault(Fault::BrokenOff(Some(error.into())))),
            Err(Elapsed) => Err(self
                .window
                .over(&self.node)
                .unwrap_or_else(|| self.fault(Fault::Silence(silence)))),
        }
    }

    fn poll_bytes(
        &mut self,
        late: Deadline,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Result<Bytes, hyper::Error>>, Elapsed>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return self.poll_late(late, cx).map(Err);
            };
            match frame {
                None => return Poll::Ready(Ok(None)),
                Some(Err(error)) => return Poll::Ready(Ok(Some(Err(error)))),
                Some(Ok(frame)) => {
                    // Trailers say nothing here, and pieces without bytes are no sign of life.
                    let bytes = frame.into_data().unwrap_or_default();
                    if !bytes.is_empty() {
                        return Poll::Ready(Ok(Some(Ok(bytes))));
                    }
                }
            }
        }
    }

    /// Waits until the node is too late. An alarm that was set for an earlier piece rings too early and
    /// then goes on for what is left: setting it anew for each piece costs as much as passing it on.
    fn poll_late(&mut self, late: Deadline, cx: &mut Context<'_>) -> Poll<Elapsed> {
        let at = late.instant();
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if alarm.deadline() > at {
            alarm.as_mut().reset(at);
        }
        loop {
            ready!(alarm.as_mut().poll(cx));
            if late.is_over() {
                return Poll::Ready(Elapsed);
            }
            alarm.as_mut().reset(at);
        }
    }

    /// Reads to the end after everything of interest is there, so that the connection can be used
    /// again; gives up soon.
    pub(crate) async fn finish(mut self, patience: Duration) {
        self.meter.outcome = "finished";
        let _ = tokio::time::timeout(patience, self.rest()).await;
    }

    /// As [`Self::finish`], without patience: it only looks, and sets no timer.
    pub(crate) fn finish_now(mut self) {
        self.meter.outcome = "finished";
        self.rest().now_or_never();
    }

    async fn rest(&mut self) {
        while let Some(Ok(_)) = self.body.frame().await {}
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
        self.instruments.ended(self.outcome, self.since.elapsed());
    }
}
