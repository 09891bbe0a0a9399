//! Remembers where marked traces came in, so that an operator can follow one without a collector.

use std::collections::VecDeque;

use opentelemetry::{Context, trace::TraceContextExt};
use parking_lot::Mutex;
use tracing::Span;

use crate::service::Service;

/// Member of `tracestate` that has a trace followed.
const MARK: (&str, &str) = ("sutazai", "follow");
/// How many steps are kept, over all traces.
const KEPT: usize = 256;

static SEEN: Mutex<VecDeque<(String, Step)>> = Mutex::new(VecDeque::new());

/// A border that a trace crossed into a service of this process, or out of it with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The service whose work begins there.
    pub service: String,
    /// Name of the span that begins there.
    pub span: &'static str,
    /// Id of the span on the other side, as 16 hexadecimal digits.
    pub parent: String,
}

/// Returns the value of `tracestate` that has a trace followed.
pub fn mark() -> String {
    let (name, value) = MARK;
    format!("{name}={value}")
}

/// Returns what this process saw of a trace, oldest first.
pub fn steps(trace_id: &str) -> Vec<Step> {
    let seen = SEEN.lock();
    let of_trace = seen.iter().filter(|(id, _)| id == trace_id);
    of_trace.map(|(_, step)| step.clone()).collect()
}

/// Keeps a step of a marked trace; costs nothing but a look at the others.
pub(crate) fn see(span: &Span, context: &Context) {
    let other = context.span();
    let ids = other.span_context();
    let (name, value) = MARK;
    if ids.trace_state().get(name) != Some(value) {
        return;
    }
    let (Some(begun), Some(service)) = (span.metadata(), context.get::<Service>()) else {
        return;
    };
    let step = Step {
        service: service.0.to_string(),
        span: begun.name(),
        parent: ids.span_id().to_string(),
    };
    let mut seen = SEEN.lock();
    if seen.len() == KEPT {
        seen.pop_front();
    }
    seen.push_back((ids.trace_id().to_string(), step));
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::{propagate, traces};

    /// Lets a request with this trace come in, and returns what is remembered of it.
    fn came_in(trace: u128, state: &str) -> Vec<Step> {
        let subscriber = tracing_subscriber::registry().with(traces::layer(None));
        tracing::subscriber::with_default(subscriber, || {
            let mut headers = HeaderMap::new();
            let parent = format!("00-{trace:032x}-00f067aa0ba902b7-00");
            headers.insert("traceparent", parent.parse().unwrap());
            headers.insert("tracestate", HeaderValue::from_str(state).unwrap());
            let span = tracing::info_span!("http");
            propagate::set_parent(&span, "backend", &headers);
        });
        steps(&format!("{trace:032x}"))
    }

    #[test]
    fn obs_02_only_a_marked_trace_is_followed() {
        let step = Step {
            service: "backend".to_owned(),
            span: "http",
            parent: "00f067aa0ba902b7".to_owned(),
        };
        assert_eq!(came_in(1, &format!("vendor=1,{}", mark())), [step]);
        assert_eq!(came_in(2, "vendor=1"), []);
    }

    #[test]
    fn a_stranger_who_marks_everything_fills_no_memory() {
        for trace in 1000..1000 + 2 * KEPT as u128 {
            came_in(trace, &mark());
        }
        assert!(SEEN.lock().len() <= KEPT);
    }
}
