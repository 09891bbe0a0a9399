//! What every broker counts and traces, so that adapters look alike from outside.

use std::collections::BTreeMap;

use metrics::counter;
use sutazai_proto::{Coded, events};
use sutazai_telemetry::{names, propagate};
use tracing::{Instrument, Span, field, info_span};

use crate::broker::{BrokerError, Handler, Outcome};
use crate::message::{Delivery, Outgoing};

/// The conventions' name of the broker; the one in this process follows the same rules.
const SYSTEM: &str = "rabbitmq";

/// Counts a delivery by what its handler made of it; nothing when the handler did not end.
pub(crate) fn consumed(queue: &str, outcome: Option<&Outcome>) {
    let outcome = match outcome {
        Some(Outcome::Done) => "done",
        Some(Outcome::Retry(_)) => "retry",
        Some(Outcome::Reject(_)) => "reject",
        None => "unsettled",
    };
    counter!(names::MESSAGES_CONSUMED_TOTAL, "queue" => queue.to_owned(), "outcome" => outcome)
        .increment(1);
}

/// Counts that a broker could not be reached, closed a connection or kept silent.
pub(crate) fn unreached(kind: &'static str) {
    counter!(names::CONNECTION_ERRORS_TOTAL, "to" => kind).increment(1);
}

/// Begins to send a message in the trace that it names, and has it name this step instead. The span
/// ends when the broker has answered, see [`published`].
pub(crate) fn sending(message: &mut Outgoing) -> Span {
    // RabbitMQ's own name of the exchange without one. Where it leads to, perhaps a queue of one
    // client, is no part of a span's name.
    let destination = match message.exchange.as_str() {
        "" => "amq.default",
        exchange => exchange,
    };
    let span = info_span!(
        "message.send",
        "otel.name" = format!("send {destination}"),
        "otel.kind" = "producer",
        "otel.status_code" = field::Empty,
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "send",
        "messaging.operation.type" = "send",
        "messaging.destination.name" = destination,
        "messaging.rabbitmq.destination.routing_key" = message.routing_key,
        "messaging.message.id" = message.id,
        "error.type" = field::Empty,
        event = field::Empty,
        task_id = field::Empty,
    );
    // First of all: a span that has begun keeps its trace.
    propagate::set_parent_from_map(&span, &message.headers);
    record_facts(&span, &message.headers);
    span.in_scope(|| propagate::inject_map(&mut message.headers));
    span
}

/// Counts a publish by its result, and marks its span.
pub(crate) fn published(span: &Span, exchange: &str, result: &Result<(), BrokerError>) {
    let outcome = match result {
        Ok(()) => "ok",
        Err(error) => error.reason(),
    };
    if result.is_err() {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", outcome);
    }
    let (exchange, outcome) = (exchange.to_owned(), outcome.to_owned());
    counter!(names::MESSAGES_PUBLISHED_TOTAL, "exchange" => exchange, "outcome" => outcome)
        .increment(1);
}

/// Lets a handler work on a delivery, in a span that continues the sender's trace.
pub(crate) async fn handle(handler: &dyn Handler, delivery: Delivery) -> Outcome {
    let span = delivery_span(&delivery);
    let outcome = handler.handle(delivery).instrument(span.clone()).await;
    if let Outcome::Reject(_) = outcome {
        span.record("otel.status_code", "ERROR");
        span.record("error.type", "rejected");
    }
    outcome
}

fn delivery_span(delivery: &Delivery) -> Span {
    let span = info_span!(
        "message.handle",
        "otel.name" = format!("process {}", delivery.queue),
        "otel.kind" = "consumer",
        "otel.status_code" = field::Empty,
        "messaging.system" = SYSTEM,
        "messaging.operation.name" = "process",
        "messaging.operation.type" = "process",
        "messaging.destination.name" = delivery.queue,
        "messaging.rabbitmq.destination.routing_key" = delivery.routing_key,
        "messaging.message.id" = delivery.id,
        "error.type" = field::Empty,
        event = field::Empty,
        task_id = field::Empty,
    );
    propagate::set_parent_from_map(&span, &delivery.headers);
    record_facts(&span, &delivery.headers);
    span
}

fn record_facts(span: &Span, headers: &BTreeMap<String, String>) {
    let facts = [
        ("event", events::HEADER_TYPE),
        ("task_id", events::HEADER_TASK_ID),
    ];
    for (field, header) in facts {
        if let Some(value) = headers.get(header) {
            span.record(field, value.as_str());
        }
    }
}
