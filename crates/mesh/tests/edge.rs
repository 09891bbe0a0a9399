//! Edges against real gRPC servers.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;

use sutazai_mesh::registry::{Lease, Registry, memory::MemoryRegistry};
use sutazai_mesh::{Edge, Mesh, ServiceName};
use sutazai_proto::agents::v1::{GetAgentRequest, agents_client::AgentsClient};
use sutazai_proto::platform::v1::{BreakersRequest, diagnostics_client::DiagnosticsClient};
use sutazai_proto::{Coded, ErrorCode, RemoteError};
use sutazai_resilience::breaker::{Snapshot, State};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_telemetry::{Config, propagate};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Status};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tracing::Instrument;

#[path = "edge/ends.rs"]
mod ends;
#[path = "edge/outliers.rs"]
mod outliers;
#[path = "edge/refuser.rs"]
mod refuser;
#[path = "edge/retries.rs"]
mod retries;
#[path = "edge/server.rs"]
mod server;
#[path = "edge/strategies.rs"]
mod strategies;
#[path = "edge/streams.rs"]
mod streams;

use server::{HOLD, TestServer, UNAVAILABLE, UNKNOWN, dead_address, instance};

const PATIENCE: Duration = Duration::from_secs(10);
const CALLEE: ServiceName = ServiceName::TaskCoordinator;

/// A caller and the registry that it uses.
struct Caller {
    mesh: Mesh,
    registry: MemoryRegistry,
    breakers: Breakers,
}

impl Caller {
    fn of(from: ServiceName) -> Self {
        let (registry, breakers) = (MemoryRegistry::new(), Breakers::new());
        let mesh = Mesh::new(from, Arc::new(registry.clone()), breakers.clone());
        Self {
            mesh,
            registry,
            breakers,
        }
    }

    fn backend() -> Self {
        Self::of(ServiceName::Backend)
    }

    fn agents(&self) -> AgentsClient<Edge> {
        AgentsClient::new(self.mesh.channel(CALLEE))
    }

    async fn register(&self, server: &TestServer, id: &str) -> Lease {
        self.registry
            .register(server.instance(id, CALLEE))
            .await
            .unwrap()
    }

    /// Starts a server of each name, and registers it until its lease is dropped.
    async fn servers<const N: usize>(&self, ids: [&str; N]) -> ([TestServer; N], Vec<Lease>) {
        let servers = ids.map(|_| TestServer::start());
        let mut leases = Vec::new();
        for (server, id) in servers.iter().zip(ids) {
            leases.push(self.register(server, id).await);
        }
        (servers, leases)
    }

    fn client(&self) -> HealthClient<Edge> {
        HealthClient::new(self.mesh.channel(CALLEE))
    }

    fn breaker(&self, id: &str) -> Snapshot {
        let name = format!("grpc:{id}");
        self.breakers
            .list()
            .into_iter()
            .find(|breaker| breaker.name == name)
            .unwrap()
    }
}

fn ask(what: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: what.to_owned(),
    }
}

/// Asks an idempotent call.
fn get(what: &str) -> GetAgentRequest {
    GetAgentRequest {
        name: what.to_owned(),
    }
}

fn ask_within(what: &str, budget: Duration) -> Request<HealthCheckRequest> {
    let mut request = Request::new(ask(what));
    request.set_timeout(budget);
    request
}

fn code_and_reason(status: Status) -> (ErrorCode, String) {
    let error = RemoteError::from(status);
    (error.code(), error.reason().to_owned())
}

/// Polls until the condition holds.
async fn until(condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited for too long");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn msh_05_calls_are_spread_over_the_instances() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let mut client = caller.client();
    for _ in 0..200 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!(one.calls() + two.calls(), 200);
    assert!(
        one.calls() > 40 && two.calls() > 40,
        "{} and {}",
        one.calls(),
        two.calls()
    );
}

#[tokio::test]
async fn msh_05_the_less_busy_instance_is_taken() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let mut client = caller.client();
    let held = tokio::spawn({
        let mut client = client.clone();
        async move { client.check(ask(HOLD)).await }
    });
    until(|| one.calls() + two.calls() == 1).await;
    let (busy, idle) = if one.calls() == 1 {
        (&one, &two)
    } else {
        (&two, &one)
    };
    for _ in 0..20 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!((busy.calls(), idle.calls()), (1, 20));

    // A caller that goes away gives its place back.
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    for _ in 0..100 {
        client.check(ask("")).await.unwrap();
    }
    assert!(
        busy.calls() > 20,
        "still avoided after {} calls",
        busy.calls()
    );
}

#[tokio::test]
async fn msh_05_an_open_stream_keeps_an_instance_busy() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let mut client = caller.client();
    let stream = client.watch(ask("")).await.unwrap();
    let (busy, idle) = if one.calls() == 1 {
        (&one, &two)
    } else {
        (&two, &one)
    };
    for _ in 0..20 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!((busy.calls(), idle.calls()), (1, 20));
    drop(stream);
}

#[tokio::test]
async fn msh_08_nobody_live_is_said_at_once() {
    let caller = Caller::backend();
    let answer = timeout(Duration::from_secs(2), caller.client().check(ask("")))
        .await
        .unwrap();
    let (code, reason) = code_and_reason(answer.unwrap_err());
    assert_eq!(
        (code, reason.as_str()),
        (ErrorCode::Unavailable, "no_live_instance")
    );

    // Who comes later is found by the same edge.
    let server = TestServer::start();
    let mut client = caller.client();
    let lease = caller.register(&server, "one").await;
    client.check(ask("")).await.unwrap();
    lease.close().await.unwrap();
    let (_, reason) = code_and_reason(client.check(ask("")).await.unwrap_err());
    assert_eq!(reason, "no_live_instance");
}

#[tokio::test]
async fn cb_03_the_breaker_of_the_failing_member_opens() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let mut client = caller.client();
    for _ in 0..5 {
        let status = client.check(ask(UNAVAILABLE)).await.unwrap_err();
        assert_eq!(
            (status.code(), status.message()),
            (Code::Unavailable, "on request")
        );
    }
    assert_eq!(caller.breaker("one").state, State::Open);
    // However slow this machine is, no probe comes between.
    caller.breakers.get("grpc:one").force_open("test");
    let status = client.check(ask("")).await.unwrap_err();
    let error = RemoteError::from(status);
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::Unavailable, "breaker_open")
    );
    assert!(error.details().retry_after.is_some());
    assert_eq!(server.calls(), 5);

    // Another member is not affected.
    let other = TestServer::start();
    let _other = caller.register(&other, "other").await;
    client.check(ask("")).await.unwrap();
    assert_eq!(other.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cb_04_a_thousand_callers_at_reopening_make_one_call() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let mut client = caller.client();
    for _ in 0..5 {
        client.check(ask(UNAVAILABLE)).await.unwrap_err();
    }
    assert_eq!(caller.breaker("one").state, State::Open);
    until(|| caller.breaker("one").next_try_in == Some(Duration::ZERO)).await;

    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let mut client = client.clone();
        callers.spawn(async move { client.check(ask(HOLD)).await });
    }
    // The probe is held until all others have been refused.
    for _ in 1..1_000 {
        let refused = timeout(PATIENCE, callers.join_next()).await.unwrap();
        let status = refused.unwrap().unwrap().unwrap_err();
        assert_eq!(code_and_reason(status).1, "breaker_open");
    }
    assert_eq!(server.calls(), 6);
    server.open_gate(1);
    let probe = timeout(PATIENCE, callers.join_next()).await.unwrap();
    probe.unwrap().unwrap().unwrap();
    assert_eq!(caller.breaker("one").state, State::Closed);
}

#[tokio::test]
async fn cb_03_an_answer_that_blames_the_caller_does_not_trip() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let mut client = caller.client();
    for _ in 0..20 {
        assert_eq!(
            client.check(ask(UNKNOWN)).await.unwrap_err().code(),
            Code::NotFound
        );
    }
    let breaker = caller.breaker("one");
    assert_eq!((breaker.state, breaker.failures), (State::Closed, 0));
}

#[tokio::test]
async fn msh_04_an_instance_that_leaves_keeps_its_calls() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let lease = caller.register(&server, "one").await;
    let mut client = caller.client();
    let mut stream = client.watch(ask("")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let held = tokio::spawn({
        let mut client = client.clone();
        async move { client.check(ask(HOLD)).await }
    });
    until(|| server.calls() == 2).await;

    lease.close().await.unwrap();
    let (_, reason) = code_and_reason(client.check(ask("")).await.unwrap_err());
    assert_eq!(reason, "no_live_instance");
    server.open_gate(2);
    assert!(timeout(PATIENCE, held).await.unwrap().unwrap().is_ok());
    assert!(
        timeout(PATIENCE, stream.message())
            .await
            .unwrap()
            .unwrap()
            .is_some()
    );

    // With the last call its breaker goes too.
    drop(stream);
    until(|| caller.breakers.list().is_empty()).await;
}

#[tokio::test]
async fn msh_06_trace_and_deadline_travel_along() {
    let _telemetry = sutazai_telemetry::init(&Config::default()).unwrap();
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let mut client = caller.client();

    let span = tracing::info_span!("test");
    let trace_id = span.in_scope(propagate::trace_id).unwrap();
    client.check(ask("")).instrument(span).await.unwrap();
    let traceparent = server.metadata("traceparent").unwrap();
    assert!(
        traceparent.starts_with(&format!("00-{trace_id}-")),
        "{traceparent}"
    );

    let sent = |server: &TestServer| {
        let header = server.metadata("grpc-timeout").unwrap();
        Deadline::from_grpc_timeout(&header).unwrap().remaining()
    };
    let default = sent(&server);
    assert!(default > Duration::from_secs(20) && default <= Duration::from_secs(30));
    client
        .check(ask_within("", Duration::from_secs(3)))
        .await
        .unwrap();
    assert!(sent(&server) <= Duration::from_secs(3));

    let totals = sutazai_telemetry::metrics::totals();
    assert!(totals["mesh_calls_total"] >= 2.0, "{totals:?}");
    assert!(totals["mesh_call_duration_seconds"] >= 2.0, "{totals:?}");
}

#[tokio::test]
async fn the_deadline_ends_a_call_that_gets_no_answer() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let call = |budget| {
        let mut client = caller.client();
        async move { client.check(ask_within(HOLD, budget)).await.unwrap_err() }
    };
    let status = timeout(PATIENCE, call(Duration::from_millis(100)))
        .await
        .unwrap();
    let (code, reason) = code_and_reason(status);
    assert_eq!(
        (code, reason.as_str()),
        (ErrorCode::DeadlineExceeded, "deadline_exceeded")
    );
    assert_eq!(caller.breaker("one").failures, 1);

    // A budget that is spent asks nobody and blames nobody.
    let calls = server.calls();
    assert_eq!(call(Duration::ZERO).await.code(), Code::DeadlineExceeded);
    assert_eq!((server.calls(), caller.breaker("one").failures), (calls, 1));
}

#[tokio::test]
async fn the_deadline_ends_a_stream_that_falls_silent() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let budget = Duration::from_millis(300);
    let mut stream = caller
        .client()
        .watch(ask_within("", budget))
        .await
        .unwrap()
        .into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let status = timeout(PATIENCE, stream.message())
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(code_and_reason(status).0, ErrorCode::DeadlineExceeded);
    assert_eq!(caller.breaker("one").failures, 0, "it did answer");
}

#[tokio::test]
async fn msh_10_a_call_outside_the_call_graph_is_refused() {
    let (caller, server) = (Caller::of(ServiceName::OllamaProxy), TestServer::start());
    let _lease = caller.register(&server, "one").await;
    let (code, reason) = code_and_reason(caller.client().check(ask("")).await.unwrap_err());
    assert_eq!(
        (code, reason.as_str()),
        (ErrorCode::Internal, "outside_call_graph")
    );
    assert_eq!(server.calls(), 0);

    // Diagnostics get through to the server, which does not have them.
    let mut diagnostics = DiagnosticsClient::new(caller.mesh.channel(CALLEE));
    let status = diagnostics
        .breakers(BreakersRequest::default())
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn one_instance_can_be_asked_by_itself() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let edge = caller.mesh.instance(&two.instance("two", CALLEE));
    let mut client = HealthClient::new(edge);
    for _ in 0..10 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!((one.calls(), two.calls()), (0, 10));
}
