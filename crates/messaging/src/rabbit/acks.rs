//! Acknowledgements of one channel: those that are due together are one frame.
//!
//! A handler that answers many deliveries at once, as a batch that was stored, would otherwise have the
//! broker write a log entry for each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicRejectOptions},
};
use sutazai_resilience::batch::Batches;
use tokio::sync::{mpsc, oneshot};

/// Most that wait; also most that are told together.
const WAITING: usize = 512;

/// Settles the deliveries of one channel; it ends with the last clone.
#[derive(Clone, Debug)]
pub(super) struct Acks(mpsc::Sender<Due>);

/// What the broker is to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Forget it.
    Done,
    /// Put it back.
    GiveBack,
    /// Dead-letter it, by what its queue says.
    Discard,
}

#[derive(Debug)]
struct Due {
    tag: u64,
    verdict: Verdict,
    acker: Acker,
    told: oneshot::Sender<Result<bool, lapin::Error>>,
}

/// Which deliveries of a channel are settled: the broker counts them from 1.
#[derive(Debug, Default)]
struct Tally {
    /// All up to this one are.
    upto: u64,
    /// These are besides.
    beyond: BTreeSet<u64>,
}

impl Acks {
    /// Begins to settle.
    pub(super) fn start() -> Self {
        let (sender, due) = mpsc::channel(WAITING);
        tokio::spawn(serve(due));
        Self(sender)
    }

    /// Settles a delivery; returns after the frame was handed to the connection, false when its channel
    /// is gone.
    pub(super) async fn settle(
        &self,
        tag: u64,
        acker: &Acker,
        verdict: Verdict,
    ) -> Result<bool, lapin::Error> {
        let (told, answer) = oneshot::channel();
        let due = Due {
            tag,
            verdict,
            acker: acker.clone(),
            told,
        };
        let gone = || lapin::Error::from(io::Error::other("nobody settles any more"));
        self.0.send(due).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Tally {
    fn settle(&mut self, tags: impl IntoIterator<Item = u64>) {
        self.beyond.extend(tags);
        while self.beyond.remove(&(self.upto + 1)) {
            self.upto += 1;
        }
    }
}

async fn serve(due: mpsc::Receiver<Due>) {
    let (mut batches, mut tally) = (Batches::unhurried(due, WAITING), Tally::default());
    while let Some(batch) = batches.next().await {
        tally.settle(batch.iter().map(|due| due.tag));
        let mut done = BTreeMap::new();
        for due in batch {
            if due.verdict == Verdict::Done {
                done.insert(due.tag, due);
            } else {
                due.reject().await;
            }
        }
        // One frame for the last of those that have nothing unsettled before them, and one for each other.
        let apart = done.split_off(&(tally.upto + 1));
        if let Some((_, last)) = done.pop_last() {
            let multiple = !done.is_empty();
            let acked = last.acker.ack(BasicAckOptions { multiple }).await;
            for due in done.into_values() {
                due.tell(acked.clone());
            }
            last.tell(acked);
        }
        for due in apart.into_values() {
            let acked = due.acker.ack(BasicAckOptions::default()).await;
            due.tell(acked);
        }
    }
}

impl Due {
    /// Never by `basic.nack`: RabbitMQ 4.3 does not count that.
    async fn reject(self) {
        let requeue = self.verdict == Verdict::GiveBack;
        let rejected = self.acker.reject(BasicRejectOptions { requeue }).await;
        self.tell(rejected);
    }

    fn tell(self, settled: Result<bool, lapin::Error>) {
        // Whose handler was stopped needs no answer.
        let _ = self.told.send(settled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_an_unsettled_delivery_before_it_is_not_counted_with_the_rest() {
        let mut tally = Tally::default();
        tally.settle([2, 3, 5]);
        assert_eq!(tally.upto, 0, "the first one is still at work");
        tally.settle([1]);
        assert_eq!(tally.upto, 3, "the fourth is");
        tally.settle([4, 6]);
        assert_eq!(tally.upto, 6);
        assert!(tally.beyond.is_empty());
    }
}
