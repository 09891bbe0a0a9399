//! What spans and events say, sorted by where it goes in a line.

use std::{borrow::Cow, error::Error, fmt, sync::Arc};

use serde_json::Value;
use tracing::field::{Field, Visit};

/// Members of a line that an event can not take.
const RESERVED: [&str; 5] = ["timestamp", "level", "target", "trace_id", "span_id"];

/// What lines take from the enclosing spans.
#[derive(Clone, Debug, Default)]
pub(super) struct SpanFields {
    pub(super) service: Option<Arc<str>>,
    pub(super) request_id: Option<Arc<str>>,
}

/// What an event says by itself.
#[derive(Debug, Default)]
pub(super) struct EventFields {
    pub(super) message: String,
    /// Target of a record that came through the `log` crate.
    pub(super) target: Option<String>,
    pub(super) spans: SpanFields,
    pub(super) others: Vec<(Cow<'static, str>, Value)>,
}

impl SpanFields {
    pub(super) fn is_empty(&self) -> bool {
        self.service.is_none() && self.request_id.is_none()
    }

    /// Fills what is missing from `outer`.
    pub(super) fn or(self, outer: Self) -> Self {
        Self {
            service: self.service.or(outer.service),
            request_id: self.request_id.or(outer.request_id),
        }
    }

    /// Takes the field if it is one of these.
    fn take(&mut self, field: &Field, text: impl FnOnce() -> Arc<str>) -> bool {
        let place = match field.name() {
            "service" => &mut self.service,
            "request_id" => &mut self.request_id,
            _ => return false,
        };
        *place = Some(text());
        true
    }
}

impl Visit for SpanFields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, || value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, || format!("{value:?}").into());
    }
}

impl EventFields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        let name = match name.strip_prefix("r#").unwrap_or(name) {
            reserved if RESERVED.contains(&reserved) => format!("field_{reserved}").into(),
            free => free.into(),
        };
        self.others.push((name, value.into()));
    }

    fn put_text(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "log.target" => self.target = Some(text),
            // Source positions that the `log` crate adds to each record.
            "log.module_path" | "log.file" => {}
            _ => self.put(field, text),
        }
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() != "log.line" {
            self.put(field, value);
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if !self.spans.take(field, || value.into()) {
            self.put_text(field, value.to_owned());
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text = format!("{text}: {cause}");
            source = cause.source();
        }
        self.put_text(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if !self.spans.take(field, || format!("{value:?}").into()) {
            self.put_text(field, format!("{value:?}"));
        }
    }
}
