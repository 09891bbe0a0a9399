//! Which service a span belongs to: several may share one process.

use std::sync::Arc;

use opentelemetry::Context;
use tracing::{Span, info_span};

use crate::traces;

/// Name of the span that a service lives in. It is in no trace: what begins inside begins a trace
/// of its own.
pub(crate) const SPAN: &str = "service";

/// The service whose work a context belongs to; spans inherit it.
#[derive(Clone, Debug)]
pub(crate) struct Service(pub(crate) Arc<str>);

/// Makes the span that a service lives in: all of its lines and spans are marked with `name`.
pub fn service_span(name: &str) -> Span {
    let span = info_span!("service", service = name);
    traces::set_parent(&span, context_of(name));
    span
}

/// Returns a context that knows this service, and no span.
pub(crate) fn context_of(name: &str) -> Context {
    Context::new().with_value(Service(name.into()))
}

/// Returns a context that knows the current service, and no span.
pub(crate) fn context() -> Context {
    traces::service().map_or_else(Context::new, |service| Context::new().with_value(service))
}
