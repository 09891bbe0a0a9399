//! Exchanges, queues and bindings as data.

pub mod definitions;

mod pattern;

use sutazai_proto::events::EventType;
use sutazai_proto::platform::v1::Echo;
use sutazai_proto::tasks::v1::{TaskFinished, TaskProgress};

/// Exchange that releases tasks: the routing key is the task's type.
pub const WORK: &str = "tasks.work";
/// Exchange of results and progress: the routing key is the event's name.
pub const EVENTS: &str = "tasks.events";
/// Exchange of producers outside the platform: the routing key is the event's name.
pub const TASKS: &str = "tasks";
/// The coordinator's queue of what outside producers submit.
pub const INTAKE: &str = "tasks.intake";
/// Alternate exchange of the others, and the queue behind it.
pub const UNROUTABLE: &str = "unroutable";
/// Exchange of what nobody could handle, and the queue behind it.
pub const DEAD_LETTERS: &str = "dead-letters";
/// The coordinator's queue of results and progress.
pub const COORDINATOR_EVENTS: &str = "task-coordinator.events";

/// Whatever producers send goes to the intake, which answers what it does not know.
const ANYTHING: &str = "#";
/// Beginning of the names of the queues of task types.
const WORK_QUEUES: &str = "work.";
/// How many submissions may wait; beyond, producers are refused until there is room.
const INTAKE_LENGTH: u64 = 20_000;
/// How often a message may come back; it is delivered once more than this.
const DELIVERY_LIMIT: u32 = 5;

/// What a broker should have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Where messages are published.
    pub exchanges: Vec<Exchange>,
    /// Where they wait.
    pub queues: Vec<Queue>,
    /// How they get from one to the other.
    pub bindings: Vec<Binding>,
}

/// How an exchange reads routing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// To the queues bound with the very same key.
    Direct,
    /// To the queues whose pattern matches: `*` stands for one word, `#` for any number of them.
    Topic,
    /// To all bound queues.
    Fanout,
}

impl ExchangeKind {
    /// Returns the name that AMQP has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }

    /// Tells whether a message with this routing key goes where `bound` is the key of the binding.
    pub fn admits(self, bound: &str, key: &str) -> bool {
        match self {
            Self::Direct => bound == key,
            Self::Topic => pattern::matches(bound, key),
            Self::Fanout => true,
        }
    }
}

/// A durable exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it reads routing keys.
    pub kind: ExchangeKind,
    /// Exchange that gets what no queue is bound for.
    pub alternate: Option<String>,
}

/// A durable queue; replicated where the broker can do it.
///
/// A full queue refuses what is published to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// How often a message may come back before it is dead-lettered.
    pub delivery_limit: Option<u32>,
    /// Exchange for what is rejected or came back too often; without one it is dropped.
    pub dead_letter_exchange: Option<String>,
    /// How many messages may wait; the broker's own bound applies as well.
    pub max_length: Option<u64>,
}

/// The value of a queue's or an exchange's argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// A name.
    Text(String),
    /// A number.
    Number(u64),
}

impl Exchange {
    /// Returns the arguments that RabbitMQ is given for it.
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let alternate = self.alternate.iter().cloned();
        alternate
            .map(|name| ("alternate-exchange", Argument::Text(name)))
            .collect()
    }
}

impl Queue {
    /// Returns the arguments that RabbitMQ is given for it.
    ///
    /// A dead letter stays in its queue until its exchange confirmed it: by default RabbitMQ throws
    /// it at the exchange and forgets it.
    pub fn arguments(&self) -> Vec<(&'static str, Argument)> {
        let text = |value: &str| Argument::Text(value.to_owned());
        let mut arguments = vec![
            ("x-queue-type", text("quorum")),
            ("x-overflow", text("reject-publish")),
        ];
        if let Some(limit) = self.delivery_limit {
            arguments.push(("x-delivery-limit", Argument::Number(limit.into())));
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            arguments.push(("x-dead-letter-exchange", text(exchange)));
            arguments.push(("x-dead-letter-strategy", text("at-least-once")));
        }
        if let Some(length) = self.max_length {
            arguments.push(("x-max-length", Argument::Number(length)));
        }
        arguments
    }
}

impl Topology {
    /// Adds what another one has; what both have is as the other one says.
    pub fn merge(&mut self, other: &Self) {
        self.exchanges
            .retain(|exchange| other.exchanges.iter().all(|new| new.name != exchange.name));
        self.exchanges.extend(other.exchanges.iter().cloned());
        self.queues
            .retain(|queue| other.queues.iter().all(|new| new.name != queue.name));
        self.queues.extend(other.queues.iter().cloned());
        self.bindings
            .retain(|binding| !other.bindings.contains(binding));
        self.bindings.extend(other.bindings.iter().cloned());
    }

    /// Finds an exchange.
    pub fn exchange(&self, name: &str) -> Option<&Exchange> {
        self.exchanges.iter().find(|exchange| exchange.name == name)
    }

    /// Finds a queue.
    pub fn queue(&self, name: &str) -> Option<&Queue> {
        self.queues.iter().find(|queue| queue.name == name)
    }

    /// Returns the queues that a message goes to straight from an exchange.
    pub fn targets<'a>(&'a self, exchange: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
        let kind = self.exchange(exchange).map(|found| found.kind);
        let of_exchange = self.bindings.iter().filter(move |b| b.exchange == exchange);
        of_exchange
            .filter(move |binding| kind.is_some_and(|kind| kind.admits(&binding.key, key)))
            .map(|binding| binding.queue.as_str())
    }
}

/// Lets messages of an exchange into a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: String,
    /// The queue.
    pub queue: String,
    /// Routing key or pattern; of no importance to a fanout exchange.
    pub key: String,
}

/// Returns what every deployment declares; queues of work come with their task types.
pub fn platform() -> Topology {
    let exchange = |name: &str, kind, alternate: Option<&str>| Exchange {
        name: name.to_owned(),
        kind,
        alternate: alternate.map(str::to_owned),
    };
    let binding = |exchange: &str, queue: &str, key: &str| Binding {
        exchange: exchange.to_owned(),
        queue: queue.to_owned(),
        key: key.to_owned(),
    };
    Topology {
        exchanges: vec![
            exchange(UNROUTABLE, ExchangeKind::Fanout, None),
            exchange(DEAD_LETTERS, ExchangeKind::Fanout, None),
            exchange(WORK, ExchangeKind::Direct, Some(UNROUTABLE)),
            exchange(EVENTS, ExchangeKind::Topic, Some(UNROUTABLE)),
            exchange(TASKS, ExchangeKind::Topic, Some(UNROUTABLE)),
        ],
        queues: vec![
            last_stop(UNROUTABLE),
            last_stop(DEAD_LETTERS),
            limited(COORDINATOR_EVENTS),
            Queue {
                max_length: Some(INTAKE_LENGTH),
                ..limited(INTAKE)
            },
        ],
        bindings: vec![
            binding(UNROUTABLE, UNROUTABLE, ""),
            binding(DEAD_LETTERS, DEAD_LETTERS, ""),
            binding(EVENTS, COORDINATOR_EVENTS, TaskFinished::NAME),
            binding(EVENTS, COORDINATOR_EVENTS, TaskProgress::NAME),
            binding(EVENTS, COORDINATOR_EVENTS, Echo::NAME),
            binding(TASKS, INTAKE, ANYTHING),
        ],
    }
}

/// Returns the queue of a task type, and what lets its tasks in.
pub fn work_queue(task_type: &str) -> (Queue, Binding) {
    let queue = limited(&format!("{WORK_QUEUES}{task_type}"));
    let binding = Binding {
        exchange: WORK.to_owned(),
        queue: queue.name.clone(),
        key: task_type.to_owned(),
    };
    (queue, binding)
}

/// Tells whether a queue is that of a task type.
pub fn is_work_queue(name: &str) -> bool {
    name.starts_with(WORK_QUEUES)
}

/// A queue whose poison ends in [`DEAD_LETTERS`].
fn limited(name: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        delivery_limit: Some(DELIVERY_LIMIT),
        dead_letter_exchange: Some(DEAD_LETTERS.to_owned()),
        max_length: None,
    }
}

/// A queue that nothing leaves by itself.
fn last_stop(name: &str) -> Queue {
    Queue {
        name: name.to_owned(),
        delivery_limit: None,
        dead_letter_exchange: None,
        max_length: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tsk_03_the_platform_refers_only_to_what_it_declares() {
        let topology = platform();
        let exchanges: Vec<&str> = topology.exchanges.iter().map(|e| e.name.as_str()).collect();
        let queues: Vec<&str> = topology.queues.iter().map(|q| q.name.as_str()).collect();
        let (work, work_binding) = work_queue("llm.generate");
        for exchange in &topology.exchanges {
            assert!(
                exchange
                    .alternate
                    .iter()
                    .all(|name| exchanges.contains(&name.as_str()))
            );
        }
        for queue in topology.queues.iter().chain([&work]) {
            let target = &queue.dead_letter_exchange;
            assert!(target.iter().all(|name| exchanges.contains(&name.as_str())));
        }
        for binding in topology.bindings.iter().chain([&work_binding]) {
            assert!(
                exchanges.contains(&binding.exchange.as_str()),
                "{binding:?}"
            );
            assert!(
                queues.contains(&binding.queue.as_str()) || binding.queue == work.name,
                "{binding:?}"
            );
        }
    }

    #[test]
    fn tsk_07_work_that_nobody_can_do_is_dead_lettered() {
        let (queue, binding) = work_queue("llm.generate");
        assert_eq!(
            (queue.name.as_str(), binding.key.as_str()),
            ("work.llm.generate", "llm.generate")
        );
        assert_eq!(queue.delivery_limit, Some(5));
        assert_eq!(queue.dead_letter_exchange.as_deref(), Some(DEAD_LETTERS));
    }
}
