//! The trace across processes: W3C `traceparent` and `tracestate` in headers of HTTP, gRPC and
//! messages.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::{follow, service};

/// Writes the current span into the headers of a request.
pub fn inject(headers: &mut HeaderMap) {
    inject_into(&mut Headers(headers));
}

/// Writes the current span into the headers of a message.
pub fn inject_map(headers: &mut BTreeMap<String, String>) {
    inject_into(&mut Map(headers));
}

/// Makes the trace in the headers of a request the parent of `span`, which belongs to `service`.
/// Without such a trace, `span` begins one.
///
/// Call it before the span is entered or logged in: a span that has begun keeps its trace.
pub fn set_parent(span: &Span, service: &str, headers: &HeaderMap) {
    // A server's connections may spawn where no span is current: it has to say who it is.
    set_parent_from(span, &service::context_of(service), &HeadersRead(headers));
}

/// Makes the trace in the headers of a message the parent of `span`, as [`set_parent`]. The span belongs
/// to the service whose work this is.
pub fn set_parent_from_map(span: &Span, headers: &BTreeMap<String, String>) {
    set_parent_from(span, &service::context(), &MapRead(headers));
}

/// Returns the id of the current span's trace, as 32 hexadecimal digits.
pub fn trace_id() -> Option<String> {
    let context = Span::current().context();
    let span = context.span();
    let ids = span.span_context();
    ids.is_valid().then(|| ids.trace_id().to_string())
}

fn inject_into(carrier: &mut dyn Injector) {
    TraceContextPropagator::new().inject_context(&Span::current().context(), carrier);
}

fn set_parent_from(span: &Span, base: &Context, carrier: &dyn Extractor) {
    let context = TraceContextPropagator::new().extract_with_context(base, carrier);
    follow::see(span, &context);
    if let Err(error) = span.set_parent(context) {
        tracing::debug!(%error, "span does not join the caller's trace");
    }
}

struct Headers<'a>(&'a mut HeaderMap);

struct HeadersRead<'a>(&'a HeaderMap);

struct Map<'a>(&'a mut BTreeMap<String, String>);

struct MapRead<'a>(&'a BTreeMap<String, String>);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

impl Extractor for HeadersRead<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for Map<'_> {
    fn set(&mut self, key: &str, value: String) {
        self.0.insert(key.to_owned(), value);
    }
}

impl Extractor for MapRead<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests;
