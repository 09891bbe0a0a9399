//! Opening a request: a slot, a node, and its first words, or another node.

use std::{collections::BTreeSet, future::Future, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderValue;
use sutazai_proto::{Coded, status::chain};
use sutazai_resilience::Deadline;
use tokio::time::Instant;

use super::{
    Fleet,
    admission::{NoSlot, Slot},
    node::Node,
    reply::{Reply, Window},
    schedule::Want,
};
use crate::{
    error::{Error, Fault},
    ollama,
};

/// One request to whichever node.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Path on the node, with its slash.
    pub(crate) path: &'static str,
    /// Full name of the model.
    pub(crate) model: Arc<str>,
    pub(crate) content_type: HeaderValue,
    pub(crate) body: Bytes,
    pub(crate) opens: Opens,
    /// Until when the caller waits, if it said so.
    pub(crate) deadline: Option<Deadline>,
}

/// With what an answer begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opens {
    /// With the first token: silence before it is a fault of the node.
    WithFirstToken,
    /// With all of it: the node is silent while it works, however long that is.
    WithWhole,
}

impl Fleet {
    /// Sends a request to the best node and reads the beginning of its answer with `begin`.
    ///
    /// Until `begin` is done nothing has reached the caller, so the request goes to another node
    /// when one fails it. Each node is asked once, and after an empty answer only one more.
    ///
    /// # Errors
    ///
    /// What the last node did; that no node or no slot was there; [`Error::Deadline`].
    pub(crate) async fn open<T, F, Fut>(&self, call: &Call, begin: F) -> Result<T, Error>
    where
        F: Fn(Reply) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let window = Window {
            limits: self.limits,
            total: Deadline::after(self.limits.total),
            caller: call.deadline,
        };
        let mut tried = BTreeSet::new();
        let mut failure: Option<Error> = None;
        loop {
            let mut slot = match self.slot(call, &window, &tried).await {
                Ok(Some(slot)) => slot,
                Ok(None) => return Err(failure.unwrap_or_else(|| self.no_node(&call.model))),
                Err(error) => return Err(error),
            };
            let id = slot.node();
            // Taken out of the fleet since the slot was granted.
            let Some(node) = self.roster.node(id) else {
                tried.insert(id);
                continue;
            };
            let node = &*node;
            let Some(pass) = self.admission.pass(&mut slot, &node.breaker) else {
                // Half open it only lets one request through at a time: that is no failure.
                if node.breaker.keeps_out() {
                    tried.insert(id);
                }
                continue;
            };
            let attempt = self.attempt(node, slot, call, &window, &begin).await;
            let failed = attempt.as_ref().err();
            node.instruments
                .attempted(failed.map_or("opened", Coded::reason));
            let error = match attempt {
                Ok(opened) => {
                    // First, so that whoever waits for the end of a probe chooses by it.
                    self.admission.warmed(node.id, &call.model);
                    pass.success();
                    return Ok(opened);
                }
                Err(error) => error,
            };
            let Error::Node { fault, .. } = &error else {
                // It answered, or the caller's time is over: neither speaks against the node.
                if !matches!(error, Error::Deadline) {
                    pass.success();
                }
                return Err(error);
            };
            let why = chain(&error);
            pass.failure(&why);
            node.failed(why);
            let twice_empty =
                is_empty_answer(&error) && failure.as_ref().is_some_and(is_empty_answer);
            if !fault.is_worth_another_node() || twice_empty {
                return Err(error);
            }
            tracing::warn!(node = %node.name, model = %call.model, reason = error.reason(), %error, "asking another node");
            tried.insert(id);
            failure = Some(error);
        }
    }

    /// Waits for a slot; nothing when no node is left.
    async fn slot(
        &self,
        call: &Call,
        window: &Window,
        tried: &BTreeSet<usize>,
    ) -> Result<Option<Slot>, Error> {
        let want = Want {
            model: call.model.clone(),
            tried: tried.clone(),
        };
        match self.admission.admit(want, window.end()).await {
            Ok(slot) => Ok(Some(slot)),
            Err(NoSlot::Nowhere) => Ok(None),
            Err(NoSlot::Full {
                waiting,
                retry_after,
            }) => Err(Error::QueueFull {
                waiting,
                retry_after,
            }),
            Err(NoSlot::Late {
                waited,
                retry_after,
            }) => Err(Error::QueueWait {
                waited,
                retry_after,
            }),
            Err(NoSlot::Over) => Err(Error::Deadline),
        }
    }

    async fn attempt<T, F, Fut>(
        &self,
        node: &Node,
        slot: Slot,
        call: &Call,
        window: &Window,
        begin: &F,
    ) -> Result<T, Error>
    where
        F: Fn(Reply) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        let fault = |fault| Error::Node {
            node: node.name.to_string(),
            fault,
        };
        let (patience, silent): (Duration, fn(Duration) -> Fault) = match call.opens {
            Opens::WithFirstToken => (window.limits.first_token, Fault::FirstToken),
            Opens::WithWhole => (window.limits.total, Fault::Total),
        };
        let started = Instant::now();
        let instruments = node.instruments.of(&call.model);
        // Pinned here: handed over by value it would be there three times, in a future of 6 KiB.
        let opening = pin!(async {
            let (content_type, body) = (call.content_type.clone(), call.body.clone());
            let sent = self
                .client
                .post(&node.url, call.path, content_type, body)
                .await;
            let response = sent.map_err(|error| {
                fault(if error.is_connect() {
                    Fault::Unreachable(error)
                } else {
                    Fault::BrokenOff(Some(error))
                })
            })?;
            let status = response.status();
            if status.is_server_error() {
                let message = ollama::error_message(response).await;
                return Err(fault(Fault::Status { status, message }));
            }
            let reply = Reply::new(
                response,
                node.name.clone(),
                instruments.clone(),
                *window,
                slot,
            );
            begin(reply).await
        });
        let until = Deadline::after(patience).earlier(window.end());
        let opened = until.run(opening).await.unwrap_or_else(|_| {
            Err(window
                .over(&node.name)
                .unwrap_or_else(|| fault(silent(patience))))
        })?;
        instruments.opened(started.elapsed());
        Ok(opened)
    }
}

fn is_empty_answer(error: &Error) -> bool {
    matches!(
        error,
        Error::Node {
            fault: Fault::Empty,
            ..
        }
    )
}
