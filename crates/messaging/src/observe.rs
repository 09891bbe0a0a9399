//! What every broker counts and traces, so that adapters look alike from outside.

use metrics::counter;
use sutazai_proto::{Coded, events};
use sutazai_telemetry::{names, propagate};
use tracing::{Instrument, Span, field, info_span};

use crate::broker::{BrokerError, Handler, Outcome};
use crate::message::Delivery;

/// Counts a publish by its result.
pub(crate) fn published(exchange: &str, result: &Result<(), BrokerError>) {
    let outcome = match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.reason().to_owned(),
    };
    let exchange = exchange.to_owned();
    counter!(names::MESSAGES_PUBLISHED_TOTAL, "exchange" => exchange, "outcome" => outcome)
        .increment(1);
}

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

/// Lets a handler work on a delivery, in a span that continues the sender's trace.
pub(crate) async fn handle(handler: &dyn Handler, delivery: Delivery) -> Outcome {
    let span = delivery_span(&delivery);
    handler.handle(delivery).instrument(span).await
}

fn delivery_span(delivery: &Delivery) -> Span {
    let span = info_span!(
        "message.handle",
        otel.kind = "consumer",
        queue = delivery.queue,
        message_id = delivery.id,
        event = field::Empty,
        task_id = field::Empty,
    );
    // First of all: a span that has begun keeps its trace.
    propagate::set_parent_from_map(&span, &delivery.headers);
    let facts = [
        ("event", events::HEADER_TYPE),
        ("task_id", events::HEADER_TASK_ID),
    ];
    for (field, header) in facts {
        if let Some(value) = delivery.headers.get(header) {
            span.record(field, value.as_str());
        }
    }
    span
}
