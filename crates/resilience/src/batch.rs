//! Work that arrives together and is done in one go.

use std::time::Duration;

use futures::FutureExt;
use tokio::{sync::mpsc, time::sleep};

/// How long a batch waits for more where there is much to do; a timer rings up to a millisecond later.
const LINGER: Duration = Duration::from_millis(1);

/// Takes from a queue what arrives together, batch by batch.
///
/// Who comes alone waits for nobody: a task passes five of these queues, and a timer, even one that is due
/// at once, rings at the next full millisecond. Where the batch before had company there is more on its
/// way, and a moment makes this one larger: each costs a way to a server and mostly its disk, and five
/// thousand tasks took a fifth longer without.
#[derive(Debug)]
pub struct Batches<T> {
    items: mpsc::Receiver<T>,
    most: usize,
    /// Whether every batch waits, not only one after a batch of several.
    unhurried: bool,
    /// Whether the next batch waits.
    waits: bool,
}

impl<T> Batches<T> {
    /// Takes batches of at most `most` from a queue.
    pub fn new(items: mpsc::Receiver<T>, most: usize) -> Self {
        Self {
            items,
            most,
            unhurried: false,
            waits: false,
        }
    }

    /// As [`Self::new`], for what nobody waits for: every batch waits a moment for more.
    pub fn unhurried(items: mpsc::Receiver<T>, most: usize) -> Self {
        Self {
            unhurried: true,
            waits: true,
            ..Self::new(items, most)
        }
    }

    /// Waits for one item, then takes what is there with it; `None` at the end.
    pub async fn next(&mut self) -> Option<Vec<T>> {
        let mut batch = Vec::new();
        self.items.recv_many(&mut batch, self.most).await;
        if self.waits && (1..self.most).contains(&batch.len()) {
            sleep(LINGER).await;
            let room = self.most - batch.len();
            self.items.recv_many(&mut batch, room).now_or_never();
        }
        self.waits = self.unhurried || batch.len() > 1;
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the next batch, while one more item comes within its wait.
    async fn with_a_late_one(
        batches: &mut Batches<u32>,
        sender: &mpsc::Sender<u32>,
        item: u32,
    ) -> Option<Vec<u32>> {
        let later = async {
            sleep(LINGER / 2).await;
            sender.send(item).await.unwrap();
        };
        tokio::join!(batches.next(), later).0
    }

    #[tokio::test]
    async fn a_batch_is_what_is_there_of_limited_size_and_who_comes_alone_waits_for_nobody() {
        let (sender, items) = mpsc::channel(8);
        let mut batches = Batches::new(items, 3);
        for item in 0..4 {
            sender.send(item).await.unwrap();
        }
        assert_eq!(batches.next().now_or_never().unwrap().unwrap(), [0, 1, 2]);
        assert_eq!(batches.next().await.unwrap(), [3]);
        assert!(batches.next().now_or_never().is_none(), "nothing is there");
        sender.send(4).await.unwrap();
        assert_eq!(batches.next().now_or_never().unwrap().unwrap(), [4]);
        drop(sender);
        assert_eq!(batches.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn where_there_is_much_to_do_a_batch_waits_for_what_is_on_its_way() {
        let (sender, items) = mpsc::channel(8);
        let mut batches = Batches::new(items, 3);
        for item in 0..3 {
            sender.send(item).await.unwrap();
        }
        assert_eq!(batches.next().await.unwrap(), [0, 1, 2]);
        sender.send(3).await.unwrap();
        let batch = with_a_late_one(&mut batches, &sender, 4).await;
        assert_eq!(batch.unwrap(), [3, 4]);
        drop(sender);
        assert_eq!(batches.next().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_waits_for_waits_itself() {
        let (sender, items) = mpsc::channel(8);
        let mut batches = Batches::unhurried(items, 3);
        for round in [[0, 1], [2, 3]] {
            sender.send(round[0]).await.unwrap();
            let batch = with_a_late_one(&mut batches, &sender, round[1]).await;
            assert_eq!(batch.unwrap(), round);
        }
    }
}
