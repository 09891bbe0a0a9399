//! gRPC as a client sees it.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, middleware};
use futures::{FutureExt, future::BoxFuture, stream};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::platform::v1::{
    BreakerAction, BreakerHistoryRequest, BreakerState, BreakersRequest, CountersRequest,
    DescribeRequest, ProbeRequest, SetBreakerRequest, diagnostics_client::DiagnosticsClient,
};
use sutazai_resilience::{Breakers, Deadline};
use sutazai_runtime::{
    Process,
    config::{Base, Profile},
};
use tokio::sync::watch;
use tonic::{Code, Request, Status, body::Body, server::NamedService, service::Routes};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

use crate::support::{Mute, Part, Running, base, builder};

/// Stands for a service of ours: it answers every call with what its deadline says, or panics.
#[derive(Clone)]
struct Tasks;

impl NamedService for Tasks {
    const NAME: &'static str = "tasks.v1.Tasks";
}

impl tower::Service<http::Request<Body>> for Tasks {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        async move {
            assert!(
                !request.uri().path().ends_with("/GetTask"),
                "the call should survive this"
            );
            let deadline = request.extensions().get::<Deadline>();
            let message =
                deadline.map_or("none".to_owned(), |d| d.remaining().as_secs().to_string());
            Ok(Status::already_exists(message).into_http())
        }
        .boxed()
    }
}

fn with_tasks() -> sutazai_runtime::service::Builder {
    builder().grpc(Routes::new(Tasks))
}

async fn health(running: &Running, service: &str) -> Result<ServingStatus, Code> {
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    match HealthClient::new(running.channel()).check(request).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) => Err(status.code()),
    }
}

#[tokio::test]
async fn health_is_told_by_service_name() {
    let running = Running::start(with_tasks()).await;
    for name in ["", "backend", "tasks.v1.Tasks", "platform.v1.Diagnostics"] {
        assert_eq!(
            health(&running, name).await,
            Ok(ServingStatus::Serving),
            "{name}"
        );
    }
    // Described, but not served here.
    assert_eq!(
        health(&running, "agents.v1.Agents").await,
        Err(Code::NotFound)
    );
    running.stop().await.unwrap();
}

#[tokio::test]
async fn health_is_not_serving_without_a_required_part() {
    let (works, receiver) = watch::channel(false);
    let part = Part {
        name: "database",
        required: true,
        works: receiver,
    };
    let registry = Arc::new(sutazai_mesh::registry::memory::MemoryRegistry::new());
    let running = Running::launch(builder().probe(Arc::new(part)), registry).await;
    assert_eq!(health(&running, "").await, Ok(ServingStatus::NotServing));
    works.send_replace(true);
    running.until_status("/readyz", http::StatusCode::OK).await;
    tokio::time::timeout(crate::support::PATIENCE, async {
        while health(&running, "backend").await != Ok(ServingStatus::Serving) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_answers_both_versions_with_what_is_served() {
    let running = Running::start(with_tasks()).await;
    let expected = [
        "grpc.health.v1.Health",
        "platform.v1.Diagnostics",
        "tasks.v1.Tasks",
    ];

    let list = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(list),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(running.channel());
    let answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(v1::server_reflection_response::MessageResponse::ListServicesResponse(list)) =
        answer.message_response
    else {
        panic!("no list");
    };
    let names: Vec<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    for name in expected
        .iter()
        .chain(&["grpc.reflection.v1.ServerReflection"])
    {
        assert!(
            names.iter().any(|listed| listed == name),
            "{name} is not in {names:?}"
        );
    }
    assert!(
        !names.iter().any(|name| name == "agents.v1.Agents"),
        "{names:?}"
    );

    let file = "tasks.v1.Tasks".to_owned();
    let ask = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(file);
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(ask),
    };
    let mut client =
        v1alpha::server_reflection_client::ServerReflectionClient::new(running.channel());
    let answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    assert!(
        matches!(
            answer.message_response,
            Some(v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_))
        ),
        "{answer:?}"
    );
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_deadline_is_enforced() {
    let running = Running::start(builder().probe(Arc::new(Mute))).await;
    let mute = ProbeRequest {
        part: "mute".to_owned(),
    };
    let path = "/platform.v1.Diagnostics/Probe";
    let (code, message) = running.call(path, &mute, Some("100m")).await;
    assert_eq!(code, Code::DeadlineExceeded, "{message}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_deadline_ends_a_stream_too() {
    let running = Running::start(builder()).await;
    let mut request = Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("grpc-timeout", "300m".parse().unwrap());
    let mut client = HealthClient::new(running.channel());
    let mut answers = client.watch(request).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn handlers_know_the_deadline_and_a_malformed_one_is_refused() {
    let running = Running::start(with_tasks()).await;
    for (timeout, code, message) in [
        (Some("100S"), Code::AlreadyExists, "99"),
        (None, Code::AlreadyExists, "none"),
        (
            Some("soon"),
            Code::InvalidArgument,
            "the header grpc-timeout is malformed",
        ),
        (Some("0m"), Code::DeadlineExceeded, "the deadline is over"),
    ] {
        let answer = running
            .call("/tasks.v1.Tasks/CreateTask", &(), timeout)
            .await;
        assert_eq!(answer, (code, message.to_owned()), "{timeout:?}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_survives() {
    let running = Running::start(with_tasks()).await;
    let answer = running.call("/tasks.v1.Tasks/GetTask", &(), None).await;
    assert_eq!(answer, (Code::Internal, "internal error".to_owned()));
    let (code, _) = running.call("/tasks.v1.Tasks/CreateTask", &(), None).await;
    assert_eq!(code, Code::AlreadyExists);
    running.stop().await.unwrap();
}

#[tokio::test]
async fn the_guard_stands_before_everything_but_health() {
    let guard = |routes: Router| {
        routes.layer(middleware::from_fn(
            |_: axum::extract::Request, _: middleware::Next| async {
                Status::unauthenticated("no").into_http::<axum::body::Body>()
            },
        ))
    };
    let running = Running::start(with_tasks().guard(guard)).await;
    assert_eq!(health(&running, "").await, Ok(ServingStatus::Serving));
    for path in [
        "/tasks.v1.Tasks/CreateTask",
        "/platform.v1.Diagnostics/Describe",
        "/no.such/Call",
    ] {
        let (code, _) = running.call(path, &(), None).await;
        assert_eq!(code, Code::Unauthenticated, "{path}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn reflection_is_behind_the_guard_in_production_only() {
    let path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    for (profile, guarded) in [(Profile::Dev, false), (Profile::Production, true)] {
        let guard = |routes: Router| {
            routes.layer(middleware::from_fn(
                |_: axum::extract::Request, _: middleware::Next| async {
                    Status::unauthenticated("no").into_http::<axum::body::Body>()
                },
            ))
        };
        let base = Base {
            profile,
            ..base(Duration::from_secs(5))
        };
        let builder = Process::builder(ServiceName::Backend, &base).guard(guard);
        let running = Running::start(builder).await;
        let ask = v1::ServerReflectionRequest::default();
        let (code, _) = running.call(path, &ask, None).await;
        assert_eq!(code == Code::Unauthenticated, guarded, "{profile}");
        assert_eq!(health(&running, "").await, Ok(ServingStatus::Serving));
        running.stop().await.unwrap();
    }
}

#[tokio::test]
async fn diagnostics_tell_who_the_process_is_and_how_it_stands() {
    let (_keep, works) = watch::channel(true);
    let breakers = Breakers::new();
    breakers.get("ollama:gpu-1");
    let builder = builder()
        .probe(Arc::new(Part {
            name: "database",
            required: true,
            works,
        }))
        .breakers(breakers);
    let instance_id = builder.instance_id().to_string();
    let running = Running::start(builder).await;
    let mut client = DiagnosticsClient::new(running.channel());

    let who = client
        .describe(DescribeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((&*who.service, who.instance_id), ("backend", instance_id));
    assert_eq!((who.ready, &*who.profile), (true, "dev"));
    assert_eq!(who.grpc_address, running.addresses.grpc.to_string());

    let probed = client
        .probe(ProbeRequest::default())
        .await
        .unwrap()
        .into_inner();
    let seen: Vec<_> = probed
        .results
        .iter()
        .map(|r| (&*r.part, r.ok, &*r.evidence))
        .collect();
    assert_eq!(seen, [("database", true, "it works")]);
    let unknown = ProbeRequest {
        part: "moon".to_owned(),
    };
    assert_eq!(
        client.probe(unknown).await.unwrap_err().code(),
        Code::NotFound
    );

    let breakers = client
        .breakers(BreakersRequest {})
        .await
        .unwrap()
        .into_inner()
        .breakers;
    assert_eq!(breakers[0].name, "ollama:gpu-1");
    client.counters(CountersRequest {}).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn cb_05_a_breaker_is_changed_by_those_who_may_and_remembers_who() {
    let breakers = Breakers::new();
    breakers.get("ollama:gpu-1");
    let ask = |name: &str, action: BreakerAction| SetBreakerRequest {
        name: name.to_owned(),
        action: action.into(),
    };
    let sealed = Running::start(builder().breakers(breakers.clone())).await;
    let mut client = DiagnosticsClient::new(sealed.channel());
    let refused = client
        .set_breaker(ask("ollama:gpu-1", BreakerAction::ForceOpen))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    sealed.stop().await.unwrap();

    let builder = builder()
        .breakers(breakers)
        .operator(|_| Ok("default/alice".to_owned()));
    let running = Running::start(builder).await;
    let mut client = DiagnosticsClient::new(running.channel());
    for (action, state, forced) in [
        (BreakerAction::ForceOpen, BreakerState::Open, true),
        (BreakerAction::ForceClosed, BreakerState::Closed, true),
        (BreakerAction::Reset, BreakerState::Closed, false),
    ] {
        let set = client.set_breaker(ask("ollama:gpu-1", action)).await;
        let set = set.unwrap().into_inner();
        assert_eq!((set.state(), set.forced), (state, forced));
    }
    for (name, action, code) in [
        ("moon", BreakerAction::Reset, Code::NotFound),
        (
            "ollama:gpu-1",
            BreakerAction::Unspecified,
            Code::InvalidArgument,
        ),
    ] {
        let refused = client.set_breaker(ask(name, action)).await.unwrap_err();
        assert_eq!(refused.code(), code, "{name}");
    }

    let history = |name: &str| BreakerHistoryRequest {
        name: name.to_owned(),
    };
    let changes = client.breaker_history(history("ollama:gpu-1")).await;
    let changes = changes.unwrap().into_inner().transitions;
    let seen: Vec<_> = changes
        .iter()
        .map(|one| (one.to(), &*one.cause, &*one.operator))
        .collect();
    let by = "default/alice";
    assert_eq!(
        seen,
        [
            (BreakerState::Open, "forced_open", by),
            (BreakerState::Closed, "forced_closed", by),
            (BreakerState::Closed, "reset", by),
        ]
    );
    let unknown = client.breaker_history(history("moon")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    running.stop().await.unwrap();
}
