//! Spans that nobody records: their place in a trace, and nothing else.
//!
//! OpenTelemetry's layer would keep times and fields of every span for a recorder that is not there, and
//! look at the clock at each exit: counted with callgrind, 2,700 instructions for each entry, which a
//! request has at least three of.

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};
use tracing::{
    Dispatch, Span, Subscriber,
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer, Registry, layer,
    registry::{LookupSpan, SpanRef},
};

use crate::service::{self, Service};

/// Gives each span its place.
#[derive(Debug)]
pub(crate) struct Places;

/// Where a span is: its ids, and the service whose work it is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) ids: SpanContext,
    pub(super) service: Option<Service>,
}

impl Place {
    /// Names a new span, in the trace of its parent or in a new one. The parent's mark stays: whether
    /// others record the trace is not for us to say.
    fn below(parent: &SpanContext) -> SpanContext {
        let ids = RandomIdGenerator::default();
        let trace = if parent.is_valid() {
            parent.trace_id()
        } else {
            ids.new_trace_id()
        };
        let state = parent.trace_state().clone();
        SpanContext::new(trace, ids.new_span_id(), parent.trace_flags(), false, state)
    }
}

impl<S> Layer<S> for Places
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: layer::Context<'_, S>) {
        let Some(span) = context.span(id) else {
            return;
        };
        let parent = match attributes.parent() {
            Some(parent) => context.span(parent),
            None if attributes.is_contextual() => context.lookup_current(),
            None => None,
        };
        let above = parent.as_ref().and_then(place);
        let (ids, service) = above.map_or((SpanContext::NONE, None), |above| {
            (above.ids, above.service)
        });
        let ids = if span.name() == service::SPAN {
            SpanContext::NONE
        } else {
            Place::below(&ids)
        };
        span.extensions_mut().insert(Place { ids, service });
    }
}

fn place<'a, S: LookupSpan<'a>>(span: &SpanRef<'a, S>) -> Option<Place> {
    span.extensions().get::<Place>().cloned()
}

/// Returns the place of a span; none where spans are recorded.
pub(super) fn of(id: &Id, dispatch: &Dispatch) -> Option<Place> {
    let registry = dispatch.downcast_ref::<Registry>()?;
    registry.span(id).as_ref().and_then(place)
}

/// Makes a span without parent, which is in a trace of its own already, the work of a service; says
/// whether it is such a span.
pub(super) fn begun(span: &Span, service: &str) -> bool {
    let begun = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        if span.parent().is_some() {
            return None;
        }
        let mut extensions = span.extensions_mut();
        extensions.get_mut::<Place>()?.service = Some(Service(service.into()));
        Some(())
    });
    begun.flatten().is_some()
}

/// Moves a span that has not begun into the trace and the service of a context; says whether it has a
/// place to move from.
pub(super) fn moved(span: &Span, to: &Context) -> bool {
    let moved = span.with_subscriber(|(id, dispatch)| {
        let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
        let mut extensions = span.extensions_mut();
        let place = extensions.get_mut::<Place>()?;
        if place.ids.is_valid() {
            place.ids = Place::below(to.span().span_context());
        }
        place.service = to.get::<Service>().cloned();
        Some(())
    });
    moved.flatten().is_some()
}
