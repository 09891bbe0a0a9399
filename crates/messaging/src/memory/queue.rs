//! One queue: what is ready, and what comes again later.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use crate::message::{Delivery, Outgoing};
use crate::topology::Queue;

/// No delay is longer: the clock can not count for ever, and neither can RabbitMQ.
const LONGEST_DELAY: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A message in a queue.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) content: Outgoing,
    /// How often it was delivered.
    pub(super) deliveries: u32,
}

/// The messages of one queue.
#[derive(Debug)]
pub(super) struct Messages {
    declared: Queue,
    /// How many may wait, ready or delayed.
    limit: u64,
    ready: VecDeque<Message>,
    /// By the time they become ready; the number keeps those of one moment apart and in order.
    delayed: BTreeMap<(Instant, u64), Message>,
    last_delayed: u64,
    wake: Arc<Notify>,
}

impl Message {
    pub(super) fn delivery(&self, queue: &str) -> Delivery {
        Delivery {
            id: self.content.id.clone(),
            queue: queue.to_owned(),
            exchange: self.content.exchange.clone(),
            routing_key: self.content.routing_key.clone(),
            headers: self.content.headers.clone(),
            properties: self.content.properties.clone(),
            content_type: self.content.content_type.clone(),
            body: self.content.body.clone(),
            delivery_count: self.deliveries,
        }
    }
}

impl Messages {
    pub(super) fn new(declared: Queue, queue_length: u64) -> Self {
        Self {
            limit: declared
                .max_length
                .map_or(queue_length, |own| own.min(queue_length)),
            declared,
            ready: VecDeque::new(),
            delayed: BTreeMap::new(),
            last_delayed: 0,
            wake: Arc::default(),
        }
    }

    pub(super) fn declared(&self) -> &Queue {
        &self.declared
    }

    /// Returns what waiting consumers wait for: one of them is woken per message.
    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    pub(super) fn is_full(&self) -> bool {
        (self.ready.len() + self.delayed.len()) as u64 >= self.limit
    }

    /// Counts what is ready now.
    pub(super) fn depth(&mut self) -> u64 {
        self.ripen();
        self.ready.len() as u64
    }

    pub(super) fn push(&mut self, content: Outgoing) {
        self.ready.push_back(Message {
            content,
            deliveries: 0,
        });
        self.wake.notify_one();
    }

    /// Takes a message back that was delivered: it is the next one again.
    pub(super) fn give_back(&mut self, message: Message) {
        self.ready.push_front(message);
        self.wake.notify_one();
    }

    /// Keeps a message for later.
    pub(super) fn delay(&mut self, message: Message, after: Duration) {
        self.last_delayed += 1;
        let due = Instant::now() + after.min(LONGEST_DELAY);
        self.delayed.insert((due, self.last_delayed), message);
        // Whoever waits does not know of this moment yet.
        self.wake.notify_one();
    }

    /// Takes the next message, and tells when one becomes ready if none is.
    pub(super) fn pop(&mut self) -> (Option<Message>, Option<Instant>) {
        self.ripen();
        let message = self.ready.pop_front();
        let next_due = self.delayed.keys().next().map(|(due, _)| *due);
        if message.is_some() && (!self.ready.is_empty() || next_due.is_some()) {
            // This consumer may be busy for long: another one should look after the rest.
            self.wake.notify_one();
        }
        (message, next_due)
    }

    fn ripen(&mut self) {
        let now = Instant::now();
        while let Some(entry) = self.delayed.first_entry()
            && entry.key().0 <= now
        {
            self.ready.push_back(entry.remove());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Properties;
    use crate::topology;

    fn queue() -> Messages {
        Messages::new(topology::work_queue("any").0, 10)
    }

    fn content(id: &str) -> Outgoing {
        Outgoing {
            id: id.to_owned(),
            exchange: String::new(),
            routing_key: String::new(),
            headers: BTreeMap::new(),
            properties: Properties::default(),
            content_type: String::new(),
            body: bytes::Bytes::new(),
        }
    }

    /// Tells whether a consumer would be woken; uses the signal up. The clock is paused.
    async fn wakes(queue: &Messages) -> bool {
        let wake = queue.wake();
        tokio::time::timeout(Duration::from_millis(1), wake.notified())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_message_wakes_somebody_for_the_rest() {
        let mut queue = queue();
        queue.push(content("one"));
        queue.push(content("two"));
        assert!(wakes(&queue).await);
        assert!(queue.pop().0.is_some());
        assert!(wakes(&queue).await, "nobody looks after the second");
        let (second, _) = queue.pop();
        assert!(!wakes(&queue).await, "there is nothing left");

        queue.push(content("three"));
        queue.delay(second.unwrap(), Duration::from_secs(5));
        assert!(wakes(&queue).await);
        assert!(queue.pop().0.is_some());
        assert!(wakes(&queue).await, "nobody waits for the delayed one");
    }

    #[tokio::test(start_paused = true)]
    async fn tsk_07_a_delayed_message_is_ready_in_time_and_in_order() {
        let mut queue = queue();
        for (id, seconds) in [("late", 9), ("soon", 5), ("also soon", 5)] {
            let message = Message {
                content: content(id),
                deliveries: 1,
            };
            queue.delay(message, Duration::from_secs(seconds));
        }
        let (none, due) = queue.pop();
        assert!(none.is_none());
        assert_eq!(due, Some(Instant::now() + Duration::from_secs(5)));
        assert_eq!(queue.depth(), 0);

        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.pop().0.unwrap().content.id, "soon");
        assert_eq!(queue.pop().0.unwrap().content.id, "also soon");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(queue.pop().0.unwrap().content.id, "late");
    }
}
