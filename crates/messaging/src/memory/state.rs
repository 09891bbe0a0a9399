//! Exchanges, queues and bindings, and how a message finds its way; no I/O and no waiting.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::queue::{Message, Messages};
use crate::broker::BrokerError;
use crate::message::{HEADER_DEAD_QUEUE, HEADER_REASON, Outgoing, REASON_DELIVERY_LIMIT};
use crate::topology::{Binding, Exchange, Topology};

/// All that a broker knows.
#[derive(Debug)]
pub(super) struct State {
    queue_length: u64,
    exchanges: HashMap<String, Exchange>,
    queues: HashMap<String, Messages>,
    bindings: Vec<Binding>,
}

/// How a delivery ended.
#[derive(Debug)]
pub(super) enum Settlement {
    Done,
    /// Its handler did not say; it is delivered again at once.
    Returned,
    Retry(Duration),
    Reject(String),
}

impl State {
    pub(super) fn new(queue_length: usize) -> Self {
        Self {
            queue_length: queue_length as u64,
            exchanges: HashMap::new(),
            queues: HashMap::new(),
            bindings: Vec::new(),
        }
    }

    /// Adds what is missing, all or nothing.
    pub(super) fn declare(&mut self, topology: &Topology) -> Result<(), BrokerError> {
        self.check(topology)?;
        for exchange in &topology.exchanges {
            self.exchanges
                .insert(exchange.name.clone(), exchange.clone());
        }
        for queue in &topology.queues {
            if !self.queues.contains_key(&queue.name) {
                let messages = Messages::new(queue.clone(), self.queue_length);
                self.queues.insert(queue.name.clone(), messages);
            }
        }
        for binding in &topology.bindings {
            if !self.bindings.contains(binding) {
                self.bindings.push(binding.clone());
            }
        }
        Ok(())
    }

    fn check(&self, topology: &Topology) -> Result<(), BrokerError> {
        for exchange in &topology.exchanges {
            if self
                .exchanges
                .get(&exchange.name)
                .is_some_and(|existing| existing != exchange)
            {
                return Err(BrokerError::Conflict(exchange.name.clone()));
            }
        }
        for queue in &topology.queues {
            if self
                .queues
                .get(&queue.name)
                .is_some_and(|existing| existing.declared() != queue)
            {
                return Err(BrokerError::Conflict(queue.name.clone()));
            }
        }
        for Binding {
            exchange, queue, ..
        } in &topology.bindings
        {
            let declared = topology.exchanges.iter().any(|e| e.name == *exchange);
            if !declared && !self.exchanges.contains_key(exchange) {
                return Err(BrokerError::UnknownExchange(exchange.clone()));
            }
            let declared = topology.queues.iter().any(|q| q.name == *queue);
            if !declared && !self.queues.contains_key(queue) {
                return Err(BrokerError::UnknownQueue(queue.clone()));
            }
        }
        Ok(())
    }

    pub(super) fn queue(&mut self, name: &str) -> Result<&mut Messages, BrokerError> {
        self.queues
            .get_mut(name)
            .ok_or_else(|| BrokerError::UnknownQueue(name.to_owned()))
    }

    /// Removes a queue without bindings, and returns how many queues are left.
    pub(super) fn remove_queue(&mut self, name: &str) -> usize {
        self.queues.remove(name);
        self.queues.len()
    }

    /// Puts a message into the queues it belongs to, all or none of them.
    pub(super) fn publish(&mut self, message: &Outgoing) -> Result<(), BrokerError> {
        message.check()?;
        let targets = self.route(&message.exchange, &message.routing_key)?;
        for name in &targets {
            if self.queue(name)?.is_full() {
                return Err(BrokerError::Full(name.clone()));
            }
        }
        for name in &targets {
            self.queue(name)?.push(message.clone());
        }
        Ok(())
    }

    fn route(&self, exchange: &str, key: &str) -> Result<BTreeSet<String>, BrokerError> {
        let unroutable = || BrokerError::Unroutable {
            exchange: exchange.to_owned(),
            routing_key: key.to_owned(),
        };
        if exchange.is_empty() {
            let known = self.queues.contains_key(key);
            return known
                .then(|| [key.to_owned()].into())
                .ok_or_else(unroutable);
        }
        // Each exchange is asked once: alternates may lead in a circle.
        let mut asked = Vec::new();
        let mut next = exchange;
        while !asked.contains(&next) {
            let Some(current) = self.exchanges.get(next) else {
                return Err(BrokerError::UnknownExchange(next.to_owned()));
            };
            let targets: BTreeSet<String> = self
                .bindings
                .iter()
                .filter(|binding| binding.exchange == current.name)
                .filter(|binding| current.kind.admits(&binding.key, key))
                .map(|binding| binding.queue.clone())
                .collect();
            if !targets.is_empty() {
                return Ok(targets);
            }
            asked.push(next);
            match &current.alternate {
                Some(alternate) => next = alternate,
                None => break,
            }
        }
        Err(unroutable())
    }

    /// Decides what becomes of a delivered message.
    pub(super) fn settle(&mut self, queue: &str, mut message: Message, settlement: Settlement) {
        message.deliveries += 1;
        let Some(messages) = self.queues.get_mut(queue) else {
            return;
        };
        let limit = messages.declared().delivery_limit;
        let spent = limit.is_some_and(|limit| message.deliveries > limit);
        match settlement {
            Settlement::Done => {}
            Settlement::Reject(reason) => self.bury(queue, message, reason),
            Settlement::Returned | Settlement::Retry(_) if spent => {
                self.bury(queue, message, REASON_DELIVERY_LIMIT.to_owned());
            }
            Settlement::Returned => messages.give_back(message),
            Settlement::Retry(after) => messages.delay(message, after),
        }
    }

    /// Dead-letters a message.
    fn bury(&mut self, queue: &str, message: Message, reason: String) {
        let mut letter = message.content;
        let declared = self.queues.get(queue).map(Messages::declared);
        let Some(target) = declared.and_then(|queue| queue.dead_letter_exchange.clone()) else {
            tracing::warn!(queue, message_id = letter.id, reason, "message dropped");
            return;
        };
        tracing::warn!(
            queue,
            message_id = letter.id,
            reason,
            "message dead-lettered"
        );
        letter.exchange = target;
        letter.headers.insert(HEADER_REASON.to_owned(), reason);
        letter
            .headers
            .insert(HEADER_DEAD_QUEUE.to_owned(), queue.to_owned());
        if let Err(error) = self.publish(&letter) {
            // To keep it in its queue would block the messages behind it.
            tracing::error!(queue, message_id = letter.id, %error, "dead letter lost");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::message::Properties;
    use crate::topology::{self, ExchangeKind, Queue};

    fn message(exchange: &str, key: &str) -> Outgoing {
        Outgoing {
            id: "one".to_owned(),
            exchange: exchange.to_owned(),
            routing_key: key.to_owned(),
            headers: std::collections::BTreeMap::new(),
            properties: Properties::default(),
            content_type: "text/plain".to_owned(),
            body: Bytes::new(),
        }
    }

    fn exchange(name: &str, alternate: &str) -> Exchange {
        Exchange {
            name: name.to_owned(),
            kind: ExchangeKind::Direct,
            alternate: Some(alternate.to_owned()),
        }
    }

    fn queue(name: &str, max_length: Option<u64>) -> Queue {
        Queue {
            name: name.to_owned(),
            delivery_limit: None,
            dead_letter_exchange: None,
            max_length,
        }
    }

    fn binding(exchange: &str, queue: &str) -> Binding {
        Binding {
            exchange: exchange.to_owned(),
            queue: queue.to_owned(),
            key: String::new(),
        }
    }

    #[test]
    fn alternates_in_a_circle_end() {
        let mut state = State::new(10);
        let exchanges = vec![exchange("a", "b"), exchange("b", "a")];
        state
            .declare(&Topology {
                exchanges,
                ..Topology::default()
            })
            .unwrap();
        let result = state.publish(&message("a", "key"));
        assert!(matches!(result, Err(BrokerError::Unroutable { exchange, .. }) if exchange == "a"));
    }

    #[test]
    fn one_full_queue_keeps_a_message_out_of_all() {
        let mut state = State::new(10);
        let topology = Topology {
            exchanges: vec![Exchange {
                name: "all".to_owned(),
                kind: ExchangeKind::Fanout,
                alternate: None,
            }],
            queues: vec![queue("large", None), queue("small", Some(1))],
            bindings: vec![binding("all", "large"), binding("all", "small")],
        };
        state.declare(&topology).unwrap();
        state.publish(&message("all", "")).unwrap();
        let result = state.publish(&message("all", ""));
        assert!(matches!(result, Err(BrokerError::Full(name)) if name == "small"));
        assert_eq!(state.queue("large").unwrap().depth(), 1);
    }

    #[test]
    fn a_refused_declaration_leaves_nothing() {
        let mut state = State::new(10);
        let topology = Topology {
            queues: vec![queue("fine", None)],
            bindings: vec![binding("missing", "fine")],
            ..Topology::default()
        };
        let result = state.declare(&topology);
        assert!(matches!(result, Err(BrokerError::UnknownExchange(name)) if name == "missing"));
        assert!(state.queue("fine").is_err());
    }

    #[test]
    fn a_dead_letter_that_finds_no_room_does_not_come_back() {
        let mut state = State::new(1);
        let (work, binding) = topology::work_queue("any");
        let mut platform = topology::platform();
        platform.queues.push(work);
        platform.bindings.push(binding);
        state.declare(&platform).unwrap();
        for _ in 0..2 {
            state.publish(&message(topology::WORK, "any")).unwrap();
            let (taken, _) = state.queue("work.any").unwrap().pop();
            state.settle(
                "work.any",
                taken.unwrap(),
                Settlement::Reject("broken".to_owned()),
            );
        }
        assert_eq!(state.queue("work.any").unwrap().depth(), 0);
        assert_eq!(state.queue(topology::DEAD_LETTERS).unwrap().depth(), 1);
    }
}
