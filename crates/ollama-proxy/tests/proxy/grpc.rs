//! `inference.v1.Inference` and the live probe.

use std::time::Duration;

use sutazai_proto::{
    Coded, ErrorCode, RemoteError,
    inference::v1::{
        ChatRequest, ChatResponse, ListModelsRequest, ListNodesRequest, Message, Role,
        chat_response::Event,
    },
    platform::v1::ProbeRequest,
};
use sutazai_testkit::ollama::{FakeNode, Fault, Script};
use tokio::time::Instant;
use tonic::{Code, Status, Streaming};

use crate::harness::{MODEL, Proxy, SOON, eventually, script};

fn hello(model: &str) -> ChatRequest {
    ChatRequest {
        model: model.to_owned(),
        messages: vec![Message {
            role: Role::User.into(),
            content: "hello".into(),
        }],
        ..ChatRequest::default()
    }
}

async fn chat(proxy: &Proxy, model: &str) -> Result<Streaming<ChatResponse>, Status> {
    let request = proxy.as_backend(hello(model));
    Ok(proxy.inference().chat(request).await?.into_inner())
}

async fn event(stream: &mut Streaming<ChatResponse>) -> Result<Option<Event>, Status> {
    Ok(stream
        .message()
        .await?
        .map(|response| response.event.unwrap()))
}

#[tokio::test]
async fn a_chat_is_opened_deltas_and_one_finished() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let mut stream = chat(&proxy, "").await.unwrap();
    let Some(Event::Opened(opened)) = event(&mut stream).await.unwrap() else {
        panic!("not opened")
    };
    assert_eq!(
        (opened.model.as_str(), opened.node),
        (MODEL, node.address().to_string())
    );
    let mut text = String::new();
    let finished = loop {
        match event(&mut stream).await.unwrap() {
            Some(Event::Delta(delta)) => text.push_str(&delta.content),
            Some(Event::Finished(finished)) => break finished,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        (text.as_str(), finished.reason.as_str()),
        ("Hello there", "stop")
    );
    let usage = finished.usage.unwrap();
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.total_duration_ns
        ),
        (7, 3, 5_000_000)
    );
    assert_eq!(event(&mut stream).await.unwrap(), None);
    proxy.stop().await;
}

#[tokio::test]
async fn llm_02_failures_before_the_first_token_are_a_status_with_reason() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_FIRST_TOKEN_SECONDS", "0.3")]).await;
    for (fault, code, reason) in [
        (Fault::Status(500), ErrorCode::BadUpstream, "node_failed"),
        (Fault::Empty, ErrorCode::BadUpstream, "empty_answer"),
        (
            Fault::Hang,
            ErrorCode::DeadlineExceeded,
            "first_token_timeout",
        ),
    ] {
        node.set_script(script().fault(fault.clone()));
        let error = RemoteError::from(chat(&proxy, MODEL).await.unwrap_err());
        assert_eq!((error.code(), error.reason()), (code, reason), "{fault:?}");
    }
    let unknown = RemoteError::from(chat(&proxy, "tinylama").await.unwrap_err());
    assert_eq!(
        (unknown.code(), unknown.reason()),
        (ErrorCode::NotFound, "model_not_found")
    );
    assert_eq!(unknown.details().metadata["near_names"], MODEL);
    let nothing = proxy.as_backend(ChatRequest::default());
    let invalid = RemoteError::from(proxy.inference().chat(nothing).await.unwrap_err());
    assert_eq!(invalid.details().violations[0].field, "/messages");
    let too_long = chat(&proxy, &"x".repeat(513)).await.unwrap_err();
    let too_long = RemoteError::from(too_long);
    assert_eq!(too_long.details().violations[0].field, "/model");
    proxy.stop().await;
}

#[tokio::test]
async fn llm_15_a_model_has_its_listed_name_however_it_was_asked_for() {
    let cold = FakeNode::start(script()).await;
    let warm = FakeNode::start(script().loaded([MODEL])).await;
    let proxy = Proxy::start(&[&cold, &warm], &[]).await;
    for asked in [
        "TinyLlama",
        "library/tinyllama",
        "registry.ollama.ai/Library/tinyllama:LATEST",
    ] {
        let mut stream = chat(&proxy, asked).await.unwrap();
        let Some(Event::Opened(opened)) = event(&mut stream).await.unwrap() else {
            panic!("not opened")
        };
        assert_eq!(
            (opened.model.as_str(), opened.node),
            (MODEL, warm.address().to_string()),
            "{asked}: it is in memory there"
        );
    }
    for seen in warm.requests_to("/api/chat") {
        assert_eq!(seen.body["model"], MODEL);
    }
    proxy.stop().await;
}

#[tokio::test]
async fn llm_02_a_failure_after_the_first_token_ends_the_stream_with_a_status() {
    let node = FakeNode::start(script().fault(Fault::EndAfterTokens(1))).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let mut stream = chat(&proxy, MODEL).await.unwrap();
    assert!(matches!(
        event(&mut stream).await,
        Ok(Some(Event::Opened(_)))
    ));
    assert!(matches!(
        event(&mut stream).await,
        Ok(Some(Event::Delta(_)))
    ));
    let error = RemoteError::from(event(&mut stream).await.unwrap_err());
    assert_eq!(
        (error.code(), error.reason()),
        (ErrorCode::BadUpstream, "node_failed")
    );
    proxy.stop().await;
}

#[tokio::test]
async fn llm_04_a_dropped_stream_aborts_the_node_within_250_ms() {
    let node = FakeNode::start(script().fault(Fault::StallAfterTokens(1))).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let mut stream = chat(&proxy, MODEL).await.unwrap();
    event(&mut stream).await.unwrap();
    let left = Instant::now();
    drop(stream);
    let aborted = node.wait_aborted(1, SOON).await.expect("the node goes on");
    assert!(
        aborted - left <= Duration::from_millis(250),
        "{:?}",
        aborted - left
    );

    // Before the first token too: the call itself is dropped.
    node.update(|script| script.fault = Some(Fault::Hang));
    let call = tokio::time::timeout(Duration::from_millis(100), chat(&proxy, MODEL)).await;
    assert!(call.is_err());
    let left = Instant::now();
    let aborted = node.wait_aborted(2, SOON).await.expect("the node goes on");
    assert!(aborted.saturating_duration_since(left) <= Duration::from_millis(250));
    proxy.stop().await;
}

#[tokio::test]
async fn models_and_nodes_are_listed() {
    let one = FakeNode::start(Script::new([MODEL, "a:1b"]).loaded(["a:1b"])).await;
    let two = FakeNode::start(script().demo()).await;
    let proxy = Proxy::start(&[&one, &two], &[]).await;
    let request = proxy.as_backend(ListModelsRequest {});
    let list = proxy
        .inference()
        .list_models(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(list.default_model, "a:1b");
    assert_eq!(list.models.len(), 2);
    let model = &list.models[0];
    assert_eq!(
        (
            model.name.as_str(),
            model.nodes.len(),
            model.loaded_on.len()
        ),
        (MODEL, 2, 0)
    );
    assert_eq!(model.modified_at.unwrap().seconds, 1_767_323_045);
    assert_eq!(
        (model.family.as_str(), model.quantization.as_str()),
        ("llama", "Q4_0")
    );
    assert_eq!(list.models[1].loaded_on, [one.address().to_string()]);

    let request = proxy.as_backend(ListNodesRequest {});
    let nodes = proxy
        .inference()
        .list_nodes(request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (nodes.queued, nodes.queue_limit, nodes.nodes.len()),
        (0, 64, 2)
    );
    assert_eq!(
        nodes.nodes.iter().map(|node| node.demo).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(
        nodes
            .nodes
            .iter()
            .all(|node| node.live && node.slots == 4 && node.version == "0.14.2")
    );
    proxy.stop().await;
}

#[tokio::test]
async fn sec_01_a_call_without_a_credential_is_refused() {
    let node = FakeNode::start(script()).await;
    let proxy = Proxy::start(&[&node], &[]).await;
    let refused = proxy.inference().chat(hello(MODEL)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert!(node.requests_to("/api/chat").is_empty());
    proxy.stop().await;
}

#[tokio::test]
async fn the_probe_chats_one_token_and_the_health_checks_load_nothing() {
    let node = FakeNode::start(script().tokens(["Hi"])).await;
    let proxy = Proxy::start(&[&node], &[("OLLAMA_CHECK_SECONDS", "0.05")]).await;
    let checks = node.requests_to("/api/ps").len();
    eventually("the health checks go on", || {
        node.requests_to("/api/ps").len() > checks + 3
    })
    .await;
    assert!(
        node.requests().iter().all(|seen| seen.method == "GET"),
        "a health check loads nothing"
    );
    let (_, health) = proxy.get("/health").await;
    assert_eq!(health["services"]["node"], "ok", "{health}");

    let probe = || {
        proxy.as_backend(ProbeRequest {
            part: "node".into(),
        })
    };
    let results = proxy
        .diagnostics()
        .probe(probe())
        .await
        .unwrap()
        .into_inner()
        .results;
    assert!(results[0].ok, "{results:?}");
    let evidence = &results[0].evidence;
    assert!(
        evidence.contains(MODEL) && evidence.contains(&node.address().to_string()),
        "{evidence}"
    );
    assert_eq!(
        node.requests_to("/api/chat")[0].body["options"]["num_predict"],
        1
    );

    node.kill();
    let results = proxy
        .diagnostics()
        .probe(probe())
        .await
        .unwrap()
        .into_inner()
        .results;
    assert!(
        !results[0].ok && results[0].cause.contains("node"),
        "{results:?}"
    );
    proxy.stop().await;
}
