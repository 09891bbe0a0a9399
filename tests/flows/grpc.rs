//! What every service answers over gRPC, to a caller with nothing but its address.

use std::time::Duration;

use futures::stream;
use prost::Message as _;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{
    Coded, ErrorCode, RemoteError,
    inference::v1::{ChatRequest, Message, Role},
    platform::v1::{DescribeRequest, diagnostics_client::DiagnosticsClient},
    tasks::v1::{ListTasksRequest, tasks_client::TasksClient},
};
use sutazai_testkit::ollama::Fault;
use system_tests::Stage;
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::{v1, v1alpha};

/// Longest wait for an end that has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Every process with a gRPC service of its own; one has only what all have.
const SERVICES: [(ServiceName, &str); 5] = [
    (ServiceName::Backend, "platform.v1.Diagnostics"),
    (ServiceName::TaskCoordinator, "tasks.v1.Tasks"),
    (ServiceName::AgentOrchestrator, "agents.v1.Agents"),
    (ServiceName::OllamaProxy, "inference.v1.Inference"),
    (ServiceName::AutomationAgent, "platform.v1.Diagnostics"),
];

fn check(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

fn reason(status: &Status) -> String {
    RemoteError::from(status.clone()).reason().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_every_service_answers_health_by_name() {
    let stage = Stage::start().await;
    for (service, own) in SERVICES {
        let mut health = HealthClient::new(stage.channel(service));
        for name in ["", service.as_str(), own] {
            let answer = health.check(check(name)).await;
            let status = answer.map(|answer| answer.into_inner().status());
            assert_eq!(
                status.ok(),
                Some(ServingStatus::Serving),
                "{service}: `{name}`"
            );
        }
        let unknown = health
            .check(check("no.such.Service"))
            .await
            .expect_err("an unknown name");
        assert_eq!(unknown.code(), Code::NotFound, "{service}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_every_service_reflects_itself_in_both_versions() {
    let stage = Stage::start().await;
    for (service, own) in SERVICES {
        for found in [
            reflected_v1(&stage, service).await,
            reflected_v1alpha(&stage, service).await,
        ] {
            for name in [own, "grpc.health.v1.Health", "platform.v1.Diagnostics"] {
                assert!(
                    found.iter().any(|found| found == name),
                    "{service}: {name} in {found:?}"
                );
            }
            let foreign = SERVICES.iter().filter(|(other, name)| {
                *other != service && *name != own && *name != "platform.v1.Diagnostics"
            });
            for (_, name) in foreign {
                assert!(
                    !found.iter().any(|found| found == name),
                    "{service} has no {name}"
                );
            }
        }
    }
    stage.stop().await;
}

async fn reflected_v1(stage: &Stage, service: ServiceName) -> Vec<String> {
    use v1::{
        server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(stage.channel(service));
    let answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .expect("a stream");
    let answer = answers
        .into_inner()
        .message()
        .await
        .expect("an answer")
        .expect("one");
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect(),
        other => panic!("{service}: {other:?}"),
    }
}

async fn reflected_v1alpha(stage: &Stage, service: ServiceName) -> Vec<String> {
    use v1alpha::{
        server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(stage.channel(service));
    let answers = client
        .server_reflection_info(stream::iter([request]))
        .await
        .expect("a stream");
    let answer = answers
        .into_inner()
        .message()
        .await
        .expect("an answer")
        .expect("one");
    match answer.message_response {
        Some(MessageResponse::ListServicesResponse(list)) => list
            .service
            .into_iter()
            .map(|service| service.name)
            .collect(),
        other => panic!("{service}: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_a_call_without_a_token_or_with_another_services_is_refused_with_details() {
    let stage = Stage::start().await;
    for (at, (service, _)) in SERVICES.into_iter().enumerate() {
        let mut client = DiagnosticsClient::new(stage.channel(service));
        let refused = client
            .describe(DescribeRequest {})
            .await
            .expect_err("no token");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unauthenticated, "missing_credential"),
            "{service}"
        );
        let typed = RemoteError::from(refused).code();
        assert_eq!(typed, ErrorCode::Unauthenticated, "{service}");

        let (other, _) = SERVICES[(at + 1) % SERVICES.len()];
        let misled = stage.signed(other, DescribeRequest {});
        let refused = client
            .describe(misled)
            .await
            .expect_err("a token for another service");
        assert_eq!(
            (refused.code(), reason(&refused).as_str()),
            (Code::Unauthenticated, "wrong_service"),
            "{service}"
        );

        let own = client
            .describe(stage.signed(service, DescribeRequest {}))
            .await;
        let own = own.expect("the operator's own token").into_inner();
        assert_eq!((own.service.as_str(), own.ready), (service.as_str(), true));
    }

    // A user's token opens the outer door, not this one.
    let token = sutazai_cli::token::mint(&stage.description().keys).expect("a user's token");
    let mut request = Request::new(DescribeRequest {});
    let bearer = format!("Bearer {token}").parse().expect("a header");
    request.metadata_mut().insert("authorization", bearer);
    let mut client = DiagnosticsClient::new(stage.channel(ServiceName::TaskCoordinator));
    let refused = client.describe(request).await.expect_err("a user's token");
    assert_eq!(refused.code(), Code::Unauthenticated);

    // Who speaks for nobody sees nobody's tasks.
    let tasks = ServiceName::TaskCoordinator;
    let mut client = TasksClient::new(stage.channel(tasks));
    let refused = client
        .list_tasks(stage.signed(tasks, ListTasksRequest::default()))
        .await;
    assert_eq!(
        refused.expect_err("no principal").code(),
        Code::Unauthenticated
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_every_service_honours_the_callers_deadline() {
    let stage = Stage::start().await;
    for (service, _) in SERVICES {
        // A watch has no end of its own, and tonic's client watches the time up to the head only.
        let mut request = Request::new(check(""));
        request
            .metadata_mut()
            .insert("grpc-timeout", "300m".parse().expect("a header"));
        let mut client = HealthClient::new(stage.channel(service));
        let mut answers = client.watch(request).await.expect("a stream").into_inner();
        let ended = tokio::time::timeout(PATIENCE, async {
            while answers.message().await?.is_some() {}
            Ok::<(), Status>(())
        });
        let ended = ended
            .await
            .unwrap_or_else(|_| panic!("{service} goes on for ever"));
        let code = ended.expect_err("a watch that ends well").code();
        assert_eq!(code, Code::DeadlineExceeded, "{service}");
    }
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_10_a_deadline_ends_the_work_down_to_the_node() {
    let stage = Stage::start().await;
    let node = &stage.nodes[0];
    node.update(|script| script.fault = Some(Fault::Hang));
    let (status, reason) = raw_chat(&stage, "300m").await;
    assert_eq!(
        (status, reason.as_str()),
        (Code::DeadlineExceeded, "deadline_exceeded")
    );
    assert!(
        node.wait_aborted(1, PATIENCE).await.is_some(),
        "the node still works for nobody"
    );

    let (status, _) = raw_chat(&stage, "1m").await;
    assert_eq!(
        status,
        Code::DeadlineExceeded,
        "less time than the work can take"
    );
    stage.stop().await;
}

/// Asks ollama-proxy by a client that knows gRPC's bytes only, so that no clock but the server's
/// can end the call; returns status and reason.
async fn raw_chat(stage: &Stage, timeout: &str) -> (Code, String) {
    let proxy = ServiceName::OllamaProxy;
    let user = Message {
        role: Role::User.into(),
        content: "hello".to_owned(),
    };
    let chat = ChatRequest {
        messages: vec![user],
        ..ChatRequest::default()
    }
    .encode_to_vec();
    let length = u32::try_from(chat.len()).expect("a small message");
    let frame = [&[0][..], &length.to_be_bytes(), &chat].concat();
    let signed = stage.signed(proxy, ());
    let token = signed
        .metadata()
        .get("authorization")
        .expect("a token")
        .as_bytes();

    #[expect(
        clippy::disallowed_methods,
        reason = "a foreign client, not one of the platform"
    )]
    let http = reqwest::Client::builder()
        .no_proxy()
        .http2_prior_knowledge()
        .build();
    let url = format!(
        "http://{}/inference.v1.Inference/Chat",
        stage.addresses(proxy).grpc
    );
    let request = http
        .expect("a client")
        .post(url)
        .timeout(PATIENCE)
        .body(frame);
    let request = request
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("authorization", token)
        .header("grpc-timeout", timeout);
    let answer = request.send().await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status without a stream");
    (status.code(), reason(&status))
}
