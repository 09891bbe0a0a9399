//! Queues in which messages wait for their next try.
//!
//! RabbitMQ expires messages only at the head of a queue, so there is one queue for each length of
//! wait, shared by all queues of a virtual host. The routing key names the queue to come back to.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use parking_lot::Mutex;

use super::declare::{bind, declare_exchange, declare_queue};
use super::link::Link;
use super::wire::table;
use crate::broker::BrokerError;
use crate::topology::{Argument, Binding, Exchange, ExchangeKind};

/// The shortest wait; each further one is twice as long.
const SHORTEST: Duration = Duration::from_millis(100);
/// Beginning of the names of these queues.
const WAITS: &str = "retry.";
/// How many lengths there are: the longest is more than 38 days.
const LENGTHS: u32 = 26;

/// The queues of waiting messages; clones share what is known of them.
#[derive(Clone, Debug)]
pub(super) struct Waits {
    link: Link,
    ready: Arc<Mutex<BTreeSet<Duration>>>,
}

impl Waits {
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            ready: Arc::default(),
        }
    }

    /// Returns the exchange behind which a message waits at least this long (and at most twice).
    pub(super) async fn exchange(&self, after: Duration) -> Result<String, BrokerError> {
        let wait = rounded_up(after);
        let name = name(wait);
        if !self.ready.lock().contains(&wait) {
            self.declare(&name, wait).await?;
            self.ready.lock().insert(wait);
        }
        Ok(name)
    }

    /// Forgets what is known: something of it turned out to be gone.
    pub(super) fn forget(&self) {
        self.ready.lock().clear();
    }

    async fn declare(&self, name: &str, wait: Duration) -> Result<(), BrokerError> {
        let channel = self.link.channel().await?;
        let exchange = Exchange {
            name: name.to_owned(),
            kind: ExchangeKind::Fanout,
            alternate: None,
        };
        let binding = Binding {
            exchange: name.to_owned(),
            queue: name.to_owned(),
            key: String::new(),
        };
        declare_exchange(&channel, &exchange).await?;
        declare_queue(&channel, name, table(arguments(wait))).await?;
        bind(&channel, &binding).await
    }
}

/// What expires goes through the default exchange, which leads to the queue that the routing key
/// names, and stays here until that queue has confirmed it.
fn arguments(wait: Duration) -> Vec<(&'static str, Argument)> {
    let text = |value: &str| Argument::Text(value.to_owned());
    let milliseconds = wait.as_millis().try_into().unwrap_or(u64::MAX);
    vec![
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
        ("x-message-ttl", Argument::Number(milliseconds)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-strategy", text("at-least-once")),
    ]
}

fn name(wait: Duration) -> String {
    format!("{WAITS}{}ms", wait.as_millis())
}

/// Tells whether a queue is one of those in which messages wait.
pub(super) fn is_wait(queue: &str) -> bool {
    queue.starts_with(WAITS)
}

fn rounded_up(after: Duration) -> Duration {
    let lengths = (0..LENGTHS).map(|doublings| SHORTEST * (1 << doublings));
    let longest = SHORTEST * (1 << (LENGTHS - 1));
    lengths
        .into_iter()
        .find(|length| *length >= after)
        .unwrap_or(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsk_07_a_wait_is_at_least_as_long_as_asked_and_at_most_twice() {
        for milliseconds in [0, 1, 99, 100, 101, 300, 5_000, 86_400_000] {
            let asked = Duration::from_millis(milliseconds);
            let given = rounded_up(asked);
            assert!(given >= asked, "{asked:?} {given:?}");
            assert!(
                given < asked * 2 || given == SHORTEST,
                "{asked:?} {given:?}"
            );
        }
        assert_eq!(name(rounded_up(Duration::MAX)), "retry.3355443200ms");
        assert!(is_wait(&name(SHORTEST)) && !is_wait("tasks.intake"));
    }
}
