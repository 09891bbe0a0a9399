//! One trace: from a user's request through every service and the broker to the model's node.
//!
//! A target of its own, because the exporter belongs to the whole process.

#![expect(
    clippy::expect_used,
    reason = "an expectation that fails is a test that fails"
)]

mod tree;

use std::{sync::OnceLock, time::Duration};

use reqwest::{Method, RequestBuilder};
use serde_json::json;
use sutazai_telemetry::{Config, Export, Format, Guard, Traces};
use sutazai_testkit::otlp::{Collector, Span};
use system_tests::{Stage, eventually};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::tree::Tree;

/// Everything that outlives a single test; the last spans are flushed by nobody, and needed by nobody.
struct Observed {
    collector: Collector,
    _guard: Guard,
    _runtime: Runtime,
}

/// Starts the collector, then the platform that exports to it.
async fn observed() -> (&'static Stage, &'static Collector) {
    static OBSERVED: OnceLock<Observed> = OnceLock::new();
    let start = || {
        let started = std::thread::spawn(|| {
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build()
                .expect("a runtime");
            let collector = runtime.block_on(Collector::start());
            let mut export = Export::to(collector.url());
            export.delay = Duration::from_millis(50);
            let guard = sutazai_telemetry::init(&Config {
                format: Format::Human,
                filter: std::env::var("RUST_LOG").unwrap_or_else(|_| "off".to_owned()),
                traces: Traces {
                    export: Some(export),
                    ..Traces::default()
                },
            });
            Observed {
                collector,
                _guard: guard.expect("telemetry"),
                _runtime: runtime,
            }
        });
        started.join().expect("a collector")
    };
    let observed = tokio::task::spawn_blocking(move || OBSERVED.get_or_init(start));
    let collector = &observed.await.expect("a collector").collector;
    (Stage::shared().await, collector)
}

/// Names a request so that its span can be found.
fn named(request: RequestBuilder) -> (RequestBuilder, String) {
    let id = Uuid::new_v4().to_string();
    (request.header("x-request-id", &id), id)
}

/// Waits for the trace that began with a request until nothing is missing in it.
async fn whole_trace(collector: &Collector, request: &str, last: &[(&str, &str)]) -> Tree {
    let of_request = |span: &&Span| {
        span.kind == "server"
            && span
                .attributes
                .get("request_id")
                .is_some_and(|id| id == request)
    };
    eventually(&format!("a whole trace with {last:?}"), async || {
        let spans = collector.spans();
        let root = spans
            .iter()
            .filter(of_request)
            .find(|span| span.parent.is_none())?;
        let tree = Tree::of(collector.trace(&root.trace));
        let there = last
            .iter()
            .all(|(kind, name)| tree.find(kind, name).is_some());
        (there && tree.faults().is_empty()).then_some(tree)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_a_task_is_one_trace_parent_by_parent() {
    let (stage, collector) = observed().await;
    let user = stage.newcomer();
    let prompt = Uuid::new_v4().to_string();
    let task = json!({"type": "llm.generate", "input": {"prompt": prompt}});
    let (request, id) = named(user.request(Method::POST, "/api/v1/tasks").json(&task));
    let created = user.send(request).await;
    assert_eq!(created.status, 202, "{}", created.text);
    let task = created.json["id"].as_str().expect("an id").to_owned();
    assert_eq!(user.finished(&task).await["state"], "succeeded");

    let ends = [
        ("client", "POST"),
        ("consumer", "process task-coordinator.events"),
    ];
    let tree = whole_trace(collector, &id, &ends).await;
    let node = tree
        .find("client", "POST")
        .expect("the request to the node");
    let chat = "inference.v1.Inference/Chat";
    let create = "tasks.v1.Tasks/CreateTask";
    let way_in = [
        ("backend", "server", "POST /api/v1/tasks"),
        ("backend", "client", create),
        ("task-coordinator", "server", create),
        ("task-coordinator", "producer", "send tasks.work"),
        (
            "agent-orchestrator",
            "consumer",
            "process work.llm.generate",
        ),
        ("agent-orchestrator", "internal", "task"),
        ("agent-orchestrator", "client", chat),
        ("ollama-proxy", "server", chat),
        ("ollama-proxy", "client", "POST"),
    ];
    assert_eq!(tree.way_to(node), way_in);
    let end = tree
        .find("consumer", "process task-coordinator.events")
        .expect("the result");
    let way_back = [
        &way_in[..6],
        &[
            ("agent-orchestrator", "producer", "send tasks.events"),
            (
                "task-coordinator",
                "consumer",
                "process task-coordinator.events",
            ),
        ],
    ]
    .concat();
    assert_eq!(tree.way_to(end), way_back);
    assert_node_was_told(stage, node, &prompt);
    assert_conventions(&tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_a_streamed_chat_is_one_trace_parent_by_parent() {
    let (stage, collector) = observed().await;
    let user = stage.newcomer();
    let prompt = Uuid::new_v4().to_string();
    let (request, id) = named(user.streamed_chat(&prompt));
    let rest = user.events(request).await.rest().await;
    assert!(!rest.cut && rest.kinds().contains(&"done"), "{rest:?}");

    let tree = whole_trace(collector, &id, &[("client", "POST")]).await;
    let node = tree
        .find("client", "POST")
        .expect("the request to the node");
    let chat = "inference.v1.Inference/Chat";
    let way = [
        ("backend", "server", "POST /api/v1/chat"),
        ("backend", "client", chat),
        ("ollama-proxy", "server", chat),
        ("ollama-proxy", "client", "POST"),
    ];
    assert_eq!(tree.way_to(node), way);
    assert_node_was_told(stage, node, &prompt);
    assert_conventions(&tree);
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_a_trace_that_its_caller_does_not_keep_is_passed_on_and_not_sent() {
    let (stage, collector) = observed().await;
    let user = stage.newcomer();
    let (prompt, trace) = (
        Uuid::new_v4().to_string(),
        Uuid::new_v4().simple().to_string(),
    );
    let request = user.streamed_chat(&prompt);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-00"));
    user.events(request).await.rest().await;
    let told = told_to_node(stage, &prompt);
    assert!(
        told.starts_with(&format!("00-{trace}-")) && told.ends_with("-00"),
        "{told}"
    );

    // What was sent later has arrived: the earlier spans would have, too.
    let (request, id) = named(user.request(Method::GET, "/api/v1/tasks"));
    user.send(request).await;
    whole_trace(collector, &id, &[]).await;
    assert_eq!(collector.trace(&trace), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn obs_02_a_problem_names_the_trace_that_was_sent() {
    let (stage, collector) = observed().await;
    let (request, id) = named(stage.newcomer().request(Method::GET, "/api/v1/tasks/none"));
    let answer = stage.newcomer().send(request).await;
    let tree = whole_trace(collector, &id, &[]).await;
    assert_eq!(
        answer.json["trace_id"],
        tree.root().trace,
        "{}",
        answer.text
    );
    let attributes = &tree.root().attributes;
    let status = answer.status.as_u16().to_string();
    assert_eq!(attributes["http.response.status_code"], status);
    assert_eq!(
        attributes["error.type"],
        answer.json["code"].as_str().expect("a code")
    );
    assert!(
        !tree.root().failed,
        "a client's fault is no error of the server"
    );
}

/// Returns the trace context that came with a prompt.
fn told_to_node(stage: &Stage, prompt: &str) -> String {
    let requests = stage.nodes[0].requests();
    let request = requests
        .iter()
        .find(|seen| seen.body.to_string().contains(prompt));
    let request = request.expect("the prompt at the node");
    request
        .header("traceparent")
        .expect("a trace context")
        .to_owned()
}

fn assert_node_was_told(stage: &Stage, span: &Span, prompt: &str) {
    let expected = format!("00-{}-{}-01", span.trace, span.id);
    assert_eq!(told_to_node(stage, prompt), expected);
}

/// Each span has what the conventions require of its kind.
fn assert_conventions(tree: &Tree) {
    for span in tree.spans() {
        let system = |name: &str| span.attributes.contains_key(name);
        let required: &[&str] = match span.kind {
            "internal" => &[],
            "producer" | "consumer" => &[
                "messaging.system",
                "messaging.operation.name",
                "messaging.operation.type",
                "messaging.destination.name",
                "messaging.message.id",
            ],
            _ if system("rpc.system.name") => &["rpc.method", "rpc.response.status_code"],
            _ if system("db.system.name") => &["db.namespace", "db.operation.name"],
            "server" => &[
                "http.request.method",
                "http.route",
                "url.path",
                "http.response.status_code",
            ],
            _ => &[
                "http.request.method",
                "url.full",
                "server.address",
                "server.port",
                "http.response.status_code",
            ],
        };
        for name in required {
            assert!(system(name), "{name} is not in {span:?}");
        }
        assert!(!span.failed, "{span:?}");
    }
}
