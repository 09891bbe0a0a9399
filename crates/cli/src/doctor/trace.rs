//! One trace through every kind of border, seen by the services that it came to.

use std::collections::BTreeSet;

use futures::future::join_all;
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::{follow, propagate};
use tracing::Span;

use super::{fleet::Fleet, report::Row};

/// Name of the row.
pub(super) const NAME: &str = "trace";
/// The way of a task, in order: each service with the span that begins where the trace comes in.
const WAY: [(ServiceName, &str); 5] = [
    (ServiceName::Backend, "http"),
    (ServiceName::TaskCoordinator, "grpc"),
    (ServiceName::AgentOrchestrator, "message.handle"),
    (ServiceName::OllamaProxy, "grpc"),
    (ServiceName::TaskCoordinator, "message.handle"),
];

/// A trace that began here.
pub(super) struct Trace {
    id: String,
    span: String,
}

impl Trace {
    /// Begins a trace.
    pub(super) fn begin() -> Self {
        Self {
            id: format!("{:032x}", rand::random_range(1..=u128::MAX)),
            span: format!("{:016x}", rand::random_range(1..=u64::MAX)),
        }
    }

    /// Returns the headers that a request carries in this trace, so that services follow it.
    pub(super) fn headers(&self) -> [(&'static str, String); 2] {
        let parent = format!("00-{}-{}-01", self.id, self.span);
        [("traceparent", parent), ("tracestate", follow::mark())]
    }

    /// Returns the span that a request is made in: in a process that has traces, requests carry that of
    /// the current span.
    pub(super) fn span(&self) -> Span {
        let span = tracing::info_span!("doctor");
        let headers = self.headers();
        let headers = headers.map(|(name, value)| (name.to_owned(), value));
        propagate::set_parent_from_map(&span, &headers.into());
        span
    }

    /// Judges whether the trace of a finished task came by every border of its way.
    ///
    /// Only what the services saw themselves counts: that the node was told is not claimed.
    pub(super) async fn row(&self, fleet: &Fleet) -> Row {
        let asked = fleet.views();
        let asked = asked.map(|(seen, _)| fleet.operator.trace(&seen.instance, &self.id));
        let answers = join_all(asked).await.into_iter().flatten().flatten();
        let steps: BTreeSet<(String, String)> =
            answers.map(|step| (step.service, step.span)).collect();
        let passed = |(service, span): &(ServiceName, &str)| {
            steps.contains(&(service.to_string(), (*span).to_owned()))
        };
        let way = |wanted: bool| -> Vec<String> {
            let chosen = WAY.iter().filter(|step| passed(step) == wanted);
            chosen
                .map(|(service, span)| format!("{service} ({span})"))
                .collect()
        };
        let missing = way(false);
        if missing.is_empty() {
            let way = way(true).join(", ");
            return Row::good(NAME, format!("trace {} came by {way}", self.id));
        }
        let cause = format!("trace {} did not come by {}", self.id, missing.join(", "));
        Row::bad(NAME, cause)
    }
}
