//! Records spans.

use std::{
    borrow::Cow,
    io,
    time::{Duration, SystemTime},
};

use opentelemetry::{
    Context, KeyValue,
    trace::{self, SpanBuilder, SpanContext, Status, TraceContextExt, TracerProvider},
};
use opentelemetry_sdk::trace::{
    self as sdk, BatchConfigBuilder, BatchSpanProcessor, SdkTracer, SdkTracerProvider,
};

use super::{
    Export,
    exporter::{Exporter, SERVICE_NAME},
};
use crate::service::{self, Service};

/// Longest time that the end of a process waits for its last spans to be taken.
const FLUSH: Duration = Duration::from_secs(3);

/// Keeps finished spans, at most as many as its queue holds, and sends them from a thread of its own.
#[derive(Debug)]
pub(crate) struct Recorder(SdkTracerProvider);

/// Makes spans.
#[derive(Clone, Debug)]
pub(super) struct Tracer(SdkTracer);

/// A span with everything about it; the one that a service lives in has nothing, not even ids.
#[derive(Debug)]
pub(super) enum Span {
    Recorded(Box<sdk::Span>),
    Service,
}

impl Recorder {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// The threads do not start. A collector that does not answer is no error.
    pub(crate) fn start(export: Export) -> io::Result<Self> {
        let sampler = export.sampling.sampler();
        let batch = BatchConfigBuilder::default().with_scheduled_delay(export.delay);
        let processor = BatchSpanProcessor::builder(Exporter::new(export)?)
            .with_batch_config(batch.build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_span_processor(processor);
        Ok(Self(provider.build()))
    }

    pub(super) fn tracer(&self) -> Tracer {
        Tracer(self.0.tracer("sutazai"))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(FLUSH) {
            tracing::warn!(%error, "last spans are not sent");
        }
    }
}

impl trace::Tracer for Tracer {
    type Span = Span;

    fn build_with_context(&self, mut builder: SpanBuilder, parent: &Context) -> Span {
        if builder.name == service::SPAN {
            return Span::Service;
        }
        if let Some(Service(name)) = parent.get::<Service>() {
            let attribute = KeyValue::new(SERVICE_NAME, name.clone());
            builder.attributes.get_or_insert_default().push(attribute);
        }
        // Samplers take any active span for a caller's decision, also one without ids.
        let nobody = Context::new();
        let known = parent.span().span_context().is_valid();
        let parent = if known { parent } else { &nobody };
        Span::Recorded(Box::new(trace::Tracer::build_with_context(
            &self.0, builder, parent,
        )))
    }
}

impl trace::Span for Span {
    fn add_event_with_timestamp<T>(&mut self, name: T, at: SystemTime, attributes: Vec<KeyValue>)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Self::Recorded(span) = self {
            span.add_event_with_timestamp(name, at, attributes);
        }
    }

    fn span_context(&self) -> &SpanContext {
        match self {
            Self::Recorded(span) => span.span_context(),
            Self::Service => &SpanContext::NONE,
        }
    }

    fn is_recording(&self) -> bool {
        matches!(self, Self::Recorded(span) if span.is_recording())
    }

    fn set_attribute(&mut self, attribute: KeyValue) {
        if let Self::Recorded(span) = self {
            span.set_attribute(attribute);
        }
    }

    fn set_status(&mut self, status: Status) {
        if let Self::Recorded(span) = self {
            span.set_status(status);
        }
    }

    fn update_name<T>(&mut self, name: T)
    where
        T: Into<Cow<'static, str>>,
    {
        if let Self::Recorded(span) = self {
            span.update_name(name);
        }
    }

    fn add_link(&mut self, to: SpanContext, attributes: Vec<KeyValue>) {
        if let Self::Recorded(span) = self {
            span.add_link(to, attributes);
        }
    }

    fn end_with_timestamp(&mut self, at: SystemTime) {
        if let Self::Recorded(span) = self {
            span.end_with_timestamp(at);
        }
    }
}
