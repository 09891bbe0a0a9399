//! Exporters against a collector that runs, one that is gone, and one that never answers.

use std::{collections::HashMap, io, net::TcpListener, sync::Arc, time::Instant};

use parking_lot::Mutex;
use sutazai_testkit::otlp::{Collector, Span};
use tracing_subscriber::layer::SubscriberExt;

use super::*;
use crate::{init::with_spans, json::JsonLines, propagate, service_span};

fn env(pairs: &[(&str, &str)]) -> Traces {
    let pairs: HashMap<&str, &str> = pairs.iter().copied().collect();
    Traces::from_env(|name| pairs.get(name).map(|value| (*value).to_owned()))
}

/// Lines that a process wrote.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn json(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs `work` in a process with these traces, up to the end of the process; returns its log.
fn process<T>(config: &Traces, work: impl FnOnce() -> T) -> (T, Lines) {
    let recorder = config.export.clone().map(Recorder::start).transpose();
    let recorder = recorder.unwrap();
    let lines = Lines::default();
    let writer = lines.clone();
    let filter = tracing_subscriber::EnvFilter::new("info");
    let layers = tracing_subscriber::Layer::and_then(
        JsonLines::new(move || writer.clone()),
        layer(recorder.as_ref()),
    );
    let layers = tracing_subscriber::Layer::with_filter(layers, with_spans(filter));
    let subscriber = tracing_subscriber::registry().with(layers);
    let result = tracing::subscriber::with_default(subscriber, || {
        let result = work();
        drop(recorder);
        result
    });
    (result, lines)
}

fn span<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found = spans.iter().find(|span| span.name == name);
    found.unwrap_or_else(|| panic!("no `{name}` in {spans:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_spans_arrive_under_the_name_of_their_service_and_with_the_ids_of_the_log() {
    let collector = Collector::start().await;
    let config = env(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.url()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test, host.name=h",
        ),
    ]);
    let ((), log) = process(&config, || {
        for name in ["backend", "ollama-proxy"] {
            let _service = service_span(name).entered();
            let request = tracing::info_span!(parent: None, "http", "otel.name" = "GET /x", "otel.kind" = "server");
            propagate::set_parent(&request, name, &http::HeaderMap::new());
            let _request = request.entered();
            let _inner = tracing::info_span!("inner").entered();
            tracing::info!(service = name, "worked");
        }
        tracing::info_span!("outside").in_scope(|| ());
    });
    let spans = collector.spans();
    assert_eq!(spans.len(), 5, "{spans:?}");
    for name in ["backend", "ollama-proxy"] {
        let own: Vec<Span> = spans
            .iter()
            .filter(|span| span.service == name)
            .cloned()
            .collect();
        let (server, inner) = (span(&own, "GET /x"), span(&own, "inner"));
        assert_eq!((server.kind, server.parent.as_deref()), ("server", None));
        assert_eq!(inner.parent.as_ref(), Some(&server.id));
        assert_eq!(inner.trace, server.trace);
        assert_eq!(inner.resource["host.name"], "h");
        assert!(!inner.attributes.contains_key("service"), "{inner:?}");
        let lines = log.json();
        let line = lines.iter().find(|line| line["service"] == name).unwrap();
        assert_eq!(
            (line["trace_id"].as_str(), line["span_id"].as_str()),
            (Some(inner.trace.as_str()), Some(inner.id.as_str()))
        );
    }
    assert_eq!(span(&spans, "outside").service, "sutazai");
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_the_standards_name_of_the_service_wins() {
    let collector = Collector::start().await;
    let config = env(&[
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", &collector.url()),
        ("OTEL_SERVICE_NAME", "mine"),
    ]);
    process(&config, || {
        service_span("backend").in_scope(|| tracing::info_span!("a").in_scope(|| ()));
    });
    assert_eq!(span(&collector.spans(), "a").service, "mine");
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_without_sampling_ids_go_on_and_no_span_is_sent() {
    let collector = Collector::start().await;
    let url = collector.url();
    let configs = [
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_TRACES_SAMPLER", "always_off"),
        ],
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_TRACES_EXPORTER", "none"),
        ],
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str()),
            ("OTEL_SDK_DISABLED", "true"),
        ],
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
            ("OTEL_SERVICE_NAME", "mine"),
        ],
    ];
    for variables in configs {
        let (passed_on, _) = process(&env(&variables), || {
            tracing::info_span!("a").in_scope(|| {
                let mut headers = http::HeaderMap::new();
                propagate::inject(&mut headers);
                (headers, propagate::trace_id().unwrap())
            })
        });
        let (headers, id) = passed_on;
        let parent = headers["traceparent"].to_str().unwrap();
        assert!(
            parent.starts_with(&format!("00-{id}-")) && parent.ends_with("-00"),
            "{parent}"
        );
    }
    assert_eq!((collector.connections(), collector.spans()), (0, vec![]));
}

#[test]
fn obs_02_a_dead_or_silent_collector_neither_slows_nor_floods() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // Connections wait in its backlog for ever.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for address in [gone, silent.local_addr().unwrap()] {
        let mut export = Export::to(format!("http://{address}"));
        export.delay = Duration::from_millis(10);
        let config = Traces {
            export: Some(export),
            ignored: vec![],
        };
        let begun = Instant::now();
        let (worked, log) = process(&config, || {
            for round in 0..20_000 {
                tracing::info_span!("a", round).in_scope(|| ());
            }
            begun.elapsed()
        });
        let stopped = begun.elapsed().checked_sub(worked).unwrap();
        assert!(worked < Duration::from_secs(8), "{worked:?}");
        assert!(stopped < Duration::from_secs(5), "{stopped:?}");
        assert!(log.json().len() <= 2, "{:?}", log.json());
    }
}

#[test]
fn obs_02_what_can_not_be_followed_is_told() {
    assert_eq!(env(&[]), Traces::default());
    let odd = env(&[("OTEL_TRACES_EXPORTER", "zipkin")]);
    assert_eq!((odd.export, odd.ignored.len()), (None, 1));
    let odd = env(&[
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
        ("OTEL_TRACES_SAMPLER", "traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a"),
    ]);
    assert_eq!(odd.export, Some(Export::to(COLLECTOR)));
    assert_eq!(odd.ignored.len(), 4, "{:?}", odd.ignored);
}

#[test]
fn obs_02_every_sampler_of_the_standard_is_known() {
    let named = |name, argument| Sampling::named(name, argument);
    let of = |parent_based, ratio| {
        Some(Sampling {
            parent_based,
            ratio,
        })
    };
    assert_eq!(named("always_on", None), of(false, 1.0));
    assert_eq!(named("always_off", Some("1")), of(false, 0.0));
    assert_eq!(named("traceidratio", Some("0.25")), of(false, 0.25));
    assert_eq!(
        named("parentbased_always_on", None),
        Some(Sampling::default())
    );
    assert_eq!(named("parentbased_always_off", None), of(true, 0.0));
    assert_eq!(named("parentbased_traceidratio", None), of(true, 1.0));
    assert_eq!(named("jaeger_remote", None), None);
}
