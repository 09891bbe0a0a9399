//! The schema of a log line (CFG-13).

use std::{collections::BTreeSet, io, sync::Arc};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt};

use super::*;
use crate::init::with_spans;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Runs `work` under the layers of a process and returns what it wrote.
fn lines_at(filter: &str, work: impl FnOnce()) -> Vec<Map<String, Value>> {
    let sink = Sink::default();
    let writer = sink.clone();
    let layers = JsonLines::new(move || writer.clone())
        .and_then(traces::layer(None))
        .with_filter(with_spans(EnvFilter::new(filter)));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layers), work);
    let bytes = sink.0.lock().clone();
    let text = String::from_utf8(bytes).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn lines(work: impl FnOnce()) -> Vec<Map<String, Value>> {
    lines_at("info", work)
}

#[test]
fn cfg_13_a_line_has_the_agreed_members() {
    let lines = lines(|| {
        let _service = tracing::info_span!("service", service = "backend").entered();
        let _request =
            tracing::info_span!("request", request_id = %"r-1", method = "GET").entered();
        tracing::warn!(target: "backend::http", attempts = 3_u64, ratio = 0.5, done = true, "task stuck");
    });
    let [line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let text = |name: &str| line[name].as_str().unwrap();
    chrono::DateTime::parse_from_rfc3339(text("timestamp")).unwrap();
    assert!(text("timestamp").ends_with('Z'));
    assert_eq!(text("level"), "WARN");
    assert_eq!(text("message"), "task stuck");
    assert_eq!(text("target"), "backend::http");
    assert_eq!(text("service"), "backend");
    assert_eq!(text("request_id"), "r-1");
    for (id, digits) in [("trace_id", 32), ("span_id", 16)] {
        assert_eq!(text(id).len(), digits);
        assert!(text(id).bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert!(text(id).bytes().any(|byte| byte != b'0'));
    }
    assert_eq!(line["attempts"], 3);
    assert_eq!(line["ratio"], 0.5);
    assert_eq!(line["done"], true);
    assert_eq!(line.len(), 11, "{line:?}");
}

#[test]
fn cfg_13_outside_of_spans_a_line_names_neither_service_nor_trace() {
    let lines = lines(|| tracing::info!("process started"));
    let names: BTreeSet<_> = lines[0].keys().map(String::as_str).collect();
    assert_eq!(
        names,
        BTreeSet::from(["level", "message", "target", "timestamp"])
    );
}

#[test]
fn cfg_13_a_service_outside_of_requests_is_in_no_trace() {
    let lines = lines(|| {
        let _service = crate::service_span("backend").entered();
        tracing::info!("service is ready");
        tracing::info_span!("round").in_scope(|| tracing::info!("a"));
        tracing::info_span!("round").in_scope(|| tracing::info!("b"));
    });
    assert_eq!(lines[0]["service"], "backend");
    assert!(!lines[0].contains_key("trace_id"), "{:?}", lines[0]);
    assert_ne!(lines[1]["trace_id"], lines[2]["trace_id"]);
}

#[test]
fn cfg_13_the_innermost_span_wins_and_later_values_count() {
    let lines = lines(|| {
        let _dev = tracing::info_span!("service", service = "dev").entered();
        let request = tracing::info_span!(
            "request",
            service = "task-coordinator",
            request_id = tracing::field::Empty
        );
        let _request = request.clone().entered();
        request.record("request_id", "r-2");
        let _inner = tracing::info_span!("store").entered();
        tracing::info!("stored");
        tracing::info!(service = "reaper", "swept");
    });
    assert_eq!(lines[0]["service"], "task-coordinator");
    assert_eq!(lines[0]["request_id"], "r-2");
    assert_eq!(lines[1]["service"], "reaper");
    assert_eq!(lines[1]["request_id"], "r-2");
}

#[test]
fn cfg_13_one_trace_covers_nested_spans() {
    let lines = lines(|| {
        let _outer = tracing::info_span!("outer").entered();
        tracing::info!("a");
        tracing::info_span!("inner").in_scope(|| tracing::info!("b"));
    });
    assert_eq!(lines[0]["trace_id"], lines[1]["trace_id"]);
    assert_ne!(lines[0]["span_id"], lines[1]["span_id"]);
}

#[test]
fn cfg_13_an_event_can_not_forge_members_or_lines() {
    let lines = lines(|| {
        tracing::info!(
            level = "ERROR",
            timestamp = 1,
            text = "a\"b\nc",
            "line one\nline two"
        );
    });
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["level"], "INFO");
    assert_eq!(lines[0]["field_level"], "ERROR");
    assert_eq!(lines[0]["field_timestamp"], 1);
    assert_eq!(lines[0]["text"], "a\"b\nc");
    assert_eq!(lines[0]["message"], "line one\nline two");
}

#[test]
fn cfg_13_levels_are_per_target_and_spans_stay() {
    let lines = lines_at("warn,noisy=error,chatty=debug", || {
        let _service = crate::service_span("backend").entered();
        let _request = tracing::info_span!("request").entered();
        tracing::info!("below the level");
        tracing::warn!(target: "noisy", "below the level of its target");
        tracing::debug!(target: "chatty", "shown");
        tracing::warn!("shown");
    });
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert_eq!(line["message"], "shown");
        assert_eq!(line["service"], "backend");
        assert!(line.contains_key("trace_id"));
    }
}

#[test]
fn an_error_value_is_told_with_its_sources() {
    #[derive(Debug, thiserror::Error)]
    #[error("task not stored")]
    struct Outer(#[source] io::Error);

    let error = Outer(io::Error::other("disk full"));
    let lines =
        lines(|| tracing::error!(error = &error as &dyn std::error::Error, "request failed"));
    assert_eq!(lines[0]["error"], "task not stored: disk full");
}
