//! Log lines as JSON objects, one a line.

mod fields;

use std::{io::Write, sync::OnceLock};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;
use tracing::{
    Event, Subscriber,
    dispatcher::{Dispatch, WeakDispatch},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    fmt::MakeWriter,
    layer::Context,
    registry::{LookupSpan, SpanRef},
};

use self::fields::{EventFields, SpanFields};
use crate::traces;

/// Writes each event as one JSON object: `timestamp`, `level`, `message`, `target`, then where known
/// `service`, `trace_id`, `span_id` and `request_id`, then the event's own fields.
pub(crate) struct JsonLines<W> {
    writer: W,
    /// The subscriber that this layer belongs to; its spans know their trace.
    dispatch: OnceLock<WeakDispatch>,
}

/// A JSON object in the making.
struct Line(Vec<u8>);

impl<W> JsonLines<W> {
    pub(crate) fn new(writer: W) -> Self {
        Self {
            writer,
            dispatch: OnceLock::new(),
        }
    }

    fn trace(&self, span: &Id) -> Option<(String, String)> {
        let dispatch = self.dispatch.get()?.upgrade()?;
        let ids = traces::ids_of(span, &dispatch)?;
        Some((ids.trace_id().to_string(), ids.span_id().to_string()))
    }
}

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A layer belongs to one subscriber; registered again, the first stays.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = SpanFields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id)
            && !fields.is_empty()
        {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut later = SpanFields::default();
        values.record(&mut later);
        if let Some(span) = context.span(id)
            && !later.is_empty()
        {
            let mut extensions = span.extensions_mut();
            let earlier = extensions.remove::<SpanFields>();
            extensions.insert(later.or(earlier.unwrap_or_default()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        let span = context.event_span(event);
        let trace = span.as_ref().and_then(|span| self.trace(&span.id()));
        let spans = fields.spans.or(enclosing(span.as_ref()));

        let mut line = Line(Vec::with_capacity(256));
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        line.put("timestamp", &now);
        line.put("level", event.metadata().level().as_str());
        line.put("message", &fields.message);
        let target = event.metadata().target();
        line.put("target", fields.target.as_deref().unwrap_or(target));
        line.put_some("service", spans.service);
        if let Some((trace_id, span_id)) = trace {
            line.put("trace_id", &trace_id);
            line.put("span_id", &span_id);
        }
        line.put_some("request_id", spans.request_id);
        for (name, value) in fields.others {
            line.put(&name, &value);
        }
        // Nobody is left to tell when the log itself can not be written.
        let _ = self
            .writer
            .make_writer_for(event.metadata())
            .write_all(&line.end());
    }
}

/// Reads service and request from the innermost spans that name them.
fn enclosing<'a, S>(span: Option<&SpanRef<'a, S>>) -> SpanFields
where
    S: LookupSpan<'a>,
{
    let mut found = SpanFields::default();
    for span in span.into_iter().flat_map(SpanRef::scope) {
        if let Some(fields) = span.extensions().get::<SpanFields>() {
            found = found.or(fields.clone());
        }
    }
    found
}

impl Line {
    fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        let begin = self.0.len();
        self.0.push(if begin == 0 { b'{' } else { b',' });
        let written = serde_json::to_writer(&mut self.0, name).and_then(|()| {
            self.0.push(b':');
            serde_json::to_writer(&mut self.0, value)
        });
        if written.is_err() {
            self.0.truncate(begin);
        }
    }

    fn put_some(&mut self, name: &str, value: Option<impl Serialize>) {
        if let Some(value) = value {
            self.put(name, &value);
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"}\n");
        self.0
    }
}

#[cfg(test)]
mod tests;
