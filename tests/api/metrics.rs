//! `/metrics`: Prometheus text with the promised names and labels, on every service.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sutazai_cli::configuration::SERVICES;
use sutazai_mesh::catalog::ServiceName;
use sutazai_telemetry::names::{ALL, Kind};
use system_tests::{Stage, eventually};

use crate::UNKNOWN;

/// One line of the text format.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels = labels.strip_suffix('}').expect("a closing brace");
        let labels = labels.split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| {
            let (name, value) = label.split_once("=\"").expect("a label");
            (name.to_owned(), value.trim_end_matches('"').to_owned())
        });
        Self {
            name: name.to_owned(),
            labels: labels.collect(),
            value: value.parse().expect("a number"),
        }
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        let has = |(name, value): &(&str, &str)| {
            self.labels.get(*name).is_some_and(|found| found == value)
        };
        labels.iter().all(has)
    }
}

fn samples(text: &str) -> Vec<Sample> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(Sample::parse).collect()
}

/// Makes requests of every kind, and leaves one open.
async fn traffic(stage: &Stage) {
    let admin = stage.admin();
    assert_eq!(admin.chat("hello").await.status, 200);
    let task = admin
        .submit("llm.generate", json!({"prompt": "hello"}))
        .await;
    admin.finished(&task).await;
    admin.get(&format!("/api/v1/tasks/{UNKNOWN}")).await;
    admin.get("/no/such/path").await;
    stage.models().get("/api/tags").await;
}

/// Every promised metric with an instance of its labels that the traffic has made.
const PROMISED: [(&str, &[(&str, &str)]); 9] = [
    (
        "api_request_total",
        &[
            ("method", "POST"),
            ("endpoint", "/api/v1/chat"),
            ("status", "200"),
        ],
    ),
    (
        "api_request_total",
        &[
            ("method", "POST"),
            ("endpoint", "/api/v1/tasks"),
            ("status", "202"),
        ],
    ),
    (
        "api_request_total",
        &[
            ("method", "GET"),
            ("endpoint", "/api/v1/tasks/{id}"),
            ("status", "404"),
        ],
    ),
    (
        "api_request_total",
        &[
            ("method", "GET"),
            ("endpoint", "unmatched"),
            ("status", "404"),
        ],
    ),
    (
        "api_errors_total",
        &[
            ("method", "GET"),
            ("endpoint", "/api/v1/tasks/{id}"),
            ("error_type", "task_not_found"),
        ],
    ),
    (
        "api_request_duration_seconds_count",
        &[
            ("method", "POST"),
            ("endpoint", "/api/v1/chat"),
            ("status", "200"),
        ],
    ),
    (
        "db_query_duration_seconds_count",
        &[("query_type", "task.create")],
    ),
    ("active_connections", &[("service", "backend")]),
    (
        "mesh_calls_total",
        &[("from", "backend"), ("to", "ollama-proxy")],
    ),
];

#[tokio::test]
async fn obs_01_every_service_shows_the_promised_metrics_after_traffic() {
    let stage = Stage::shared().await;
    traffic(stage).await;
    // A connection to the backend that stays open, whoever else has one.
    let open = stage.stranger();
    open.get("/livez").await;
    for service in SERVICES {
        let client = stage.http(service);
        // A request is counted when its answer has ended, which may be a moment later.
        eventually(&format!("the metrics of {service}"), async || {
            let answer = client.get("/metrics").await;
            assert_eq!(answer.status, 200);
            let kind = answer.header("content-type");
            assert_eq!(kind, Some("text/plain; version=0.0.4; charset=utf-8"));
            let samples = samples(&answer.text);
            let found = |(name, labels): &(&str, &[(&str, &str)])| {
                let mut named = samples.iter().filter(|sample| sample.name == *name);
                named.any(|sample| sample.has(labels) && sample.value > 0.0)
            };
            let own = ("active_connections", &[("service", service.as_str())][..]);
            PROMISED.iter().chain([&own]).all(found).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn msh_09_every_call_that_a_service_serves_came_through_the_mesh() {
    let stage = Stage::shared().await;
    traffic(stage).await;
    // A call is counted by its caller once the answer has begun: some are on their way.
    eventually("a mesh that carries every call", async || {
        let text = stage.http(ServiceName::Backend).get("/metrics").await.text;
        let (edges, share) = coverage(&samples(&text));
        (edges >= 6 && share >= 0.95).then_some(())
    })
    .await;
}

/// Returns how many edges carried calls, and the share of the calls that the mesh knows of those that
/// the callees counted by themselves: one on another way would be missing for good.
fn coverage(samples: &[Sample]) -> (usize, f64) {
    let total = |name: &str, from: &str, to: &str| -> f64 {
        let edge = [("from", from), ("to", to)];
        let edge = samples
            .iter()
            .filter(|sample| sample.name == name && sample.has(&edge));
        edge.map(|sample| sample.value).sum()
    };
    let (mut edges, mut covered, mut served) = (0, 0.0, 0.0);
    for from in SERVICES {
        for to in SERVICES {
            let (from, to) = (from.as_str(), to.as_str());
            let arrived = total("mesh_calls_served_total", from, to);
            edges += usize::from(arrived > 0.0);
            served += arrived;
            covered += total("mesh_calls_total", from, to).min(arrived);
        }
    }
    (edges, covered / served)
}

#[tokio::test]
async fn obs_01_every_metric_is_declared_with_exactly_its_labels() {
    let stage = Stage::shared().await;
    traffic(stage).await;
    let text = stage.stranger().get("/metrics").await.text;
    let mut seen = BTreeSet::new();
    for sample in samples(&text) {
        let metric = ALL
            .iter()
            .find(
                |metric| match (metric.kind, sample.name.strip_prefix(metric.name)) {
                    (Kind::Histogram, Some(part)) => ["_bucket", "_sum", "_count"].contains(&part),
                    (_, part) => part == Some(""),
                },
            )
            .unwrap_or_else(|| panic!("{} is not declared", sample.name));
        let mut expected: BTreeSet<&str> = metric.labels.iter().copied().collect();
        expected.extend(sample.name.ends_with("_bucket").then_some("le"));
        let found: BTreeSet<&str> = sample.labels.keys().map(String::as_str).collect();
        assert_eq!(found, expected, "{}", sample.name);
        seen.insert(metric.name);
    }
    assert!(seen.len() > 10, "{seen:?}");
    for name in &seen {
        for comment in ["HELP", "TYPE"] {
            let line = format!("# {comment} {name} ");
            assert!(text.lines().any(|found| found.starts_with(&line)), "{line}");
        }
    }
}

#[tokio::test]
async fn obs_01_endpoints_are_route_templates_and_methods_are_known_ones() {
    let stage = Stage::shared().await;
    traffic(stage).await;
    let client = stage.stranger();
    let odd = client.request("BREW".parse().expect("a method"), "/odd/7f3a");
    client.send(odd).await;
    let text = client.get("/metrics").await.text;
    assert!(!text.contains(UNKNOWN), "an id is a label");
    assert!(
        !text.contains("7f3a") && !text.contains("BREW"),
        "a path or a method is a label"
    );
}
