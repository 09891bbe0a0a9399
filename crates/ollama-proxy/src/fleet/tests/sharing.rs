//! Several nodes, several callers.

use futures::future::join_all;
use sutazai_testkit::ollama::Fault as NodeFault;

use super::*;

#[tokio::test]
async fn llm_05_five_at_once_all_succeed() {
    let node = FakeNode::start(script().between_tokens(Duration::from_millis(20))).await;
    let fleet = fleet(&[&node]).await;
    let answers = join_all((0..5).map(|_| ask(&fleet, MODEL))).await;
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.is_ok_and(|text| text == "Hello there"))
    );
    assert!(
        node.peak() <= 4,
        "the node has four slots, and {} ran",
        node.peak()
    );
    idle(&fleet).await;
}

#[tokio::test]
async fn two_nodes_share_the_load_evenly() {
    let stalled = || FakeNode::start(script().fault(NodeFault::StallAfterTokens(1)));
    let (one, two) = (stalled().await, stalled().await);
    let fleet = fleet(&[&one, &two]).await;
    let held: Vec<_> = join_all((0..8).map(|_| open(&fleet, MODEL))).await;
    assert!(held.iter().all(Result::is_ok));
    assert_eq!((one.in_flight(), two.in_flight()), (4, 4));
    drop(held);
    idle(&fleet).await;
}

#[tokio::test]
async fn a_node_with_the_model_in_memory_is_preferred_and_one_that_answered_has_it() {
    let cold = FakeNode::start(script()).await;
    let warm = FakeNode::start(script().loaded([MODEL])).await;
    let fleet = fleet(&[&cold, &warm]).await;
    for _ in 0..3 {
        ask(&fleet, MODEL).await.unwrap();
    }
    assert_eq!(
        (
            cold.requests_to("/api/chat").len(),
            warm.requests_to("/api/chat").len()
        ),
        (0, 3)
    );
}

#[tokio::test]
async fn olp_02_beyond_slots_and_queue_callers_are_told_when_to_come_again() {
    let node = FakeNode::start(script().fault(NodeFault::StallAfterTokens(1))).await;
    let mut setup = Setup::of(&[&node]);
    (setup.config.slots, setup.config.queue_limit) = (1, 2);
    let fleet = setup.build().await;
    let held = open(&fleet, MODEL).await.unwrap();
    let waiting: Vec<_> = (0..2)
        .map(|_| {
            let fleet = fleet.clone();
            tokio::spawn(async move { open(&fleet, MODEL).await.map(drop) })
        })
        .collect();
    while fleet.queued() < 2 {
        tokio::task::yield_now().await;
    }
    let full = open(&fleet, MODEL).await.map(drop).unwrap_err();
    assert_eq!(
        (full.code(), full.reason()),
        (ErrorCode::Exhausted, "queue_full")
    );
    assert!(full.details().retry_after.is_some());
    for late in waiting {
        let late = late.await.unwrap().unwrap_err();
        assert_eq!(
            (late.code(), late.reason()),
            (ErrorCode::Unavailable, "queue_timeout")
        );
        assert!(late.details().retry_after.is_some());
    }
    assert_eq!(
        node.requests_to("/api/chat").len(),
        1,
        "who waits does not reach the node"
    );
    drop(held);
    idle(&fleet).await;
}

/// Three nodes under load, one of them dies: whoever had not got a token yet gets an answer.
#[tokio::test]
async fn llm_14_a_dying_node_loses_no_request_that_had_not_started() {
    let slow = || FakeNode::start(script().first_token_after(Duration::from_millis(100)));
    let nodes = [slow().await, slow().await, slow().await];
    let fleet = fleet(&[&nodes[0], &nodes[1], &nodes[2]]).await;
    let running = tokio::spawn({
        let fleet = fleet.clone();
        async move { join_all((0..30).map(|_| ask(&fleet, MODEL))).await }
    });
    while nodes[1].in_flight() < 4 {
        tokio::task::yield_now().await;
    }
    nodes[1].kill();
    for answer in running.await.unwrap() {
        assert_eq!(answer.unwrap(), "Hello there");
    }
    idle(&fleet).await;
}

#[tokio::test]
async fn llm_14_every_failure_before_the_first_token_goes_to_another_node() {
    let healthy = FakeNode::start(script()).await;
    for fault in [
        NodeFault::Refuse,
        NodeFault::Status(503),
        NodeFault::CutAfterBytes(0),
        NodeFault::CutAfterBytes(150),
        NodeFault::Empty,
        NodeFault::GarbageAfterTokens(0),
        NodeFault::ErrorAfterTokens(0),
    ] {
        // It has the model in memory, so it is asked first.
        let faulty = FakeNode::start(script().loaded([MODEL])).await;
        let fleet = fleet(&[&faulty, &healthy]).await;
        faulty.update(|script| script.fault = Some(fault.clone()));
        let mut tokens = open(&fleet, MODEL).await.unwrap();
        assert_eq!(*tokens.node, fleet.nodes()[1].name, "{fault:?}");
        assert_eq!(listen(&mut tokens).await.0, "Hello there", "{fault:?}");
        idle(&fleet).await;
    }
}

#[tokio::test]
async fn llm_14_a_request_is_not_repeated_once_something_was_said() {
    let faulty =
        FakeNode::start(script().loaded([MODEL]).fault(NodeFault::EndAfterTokens(1))).await;
    let healthy = FakeNode::start(script()).await;
    let fleet = fleet(&[&faulty, &healthy]).await;
    assert!(ask(&fleet, MODEL).await.is_err());
    assert_eq!(healthy.requests_to("/api/chat").len(), 0);
}

#[tokio::test]
async fn llm_15_the_default_model_is_configured_else_loaded_else_first_else_missing() {
    let node = FakeNode::start(Script::new(["first:latest", "second:7b"])).await;
    let with_default = |model: &str| {
        let mut setup = Setup::of(&[&node]);
        setup.config.default_model = Some(model.to_owned());
        setup
    };
    assert_eq!(
        *fleet(&[&node]).await.resolve("").await.unwrap(),
        *"first:latest"
    );
    node.update(|script| script.loaded = vec!["second:7b".into()]);
    assert_eq!(
        *fleet(&[&node]).await.resolve("").await.unwrap(),
        *"second:7b"
    );
    for (default, meant) in [
        ("first", "first:latest"),
        ("library/FIRST", "first:latest"),
        ("absent", "second:7b"),
    ] {
        let fleet = with_default(default).build().await;
        assert_eq!(*fleet.resolve("").await.unwrap(), *meant, "{default}");
    }

    let bare = FakeNode::start(Script::new([] as [&str; 0])).await;
    let missing = fleet(&[&bare]).await.resolve("").await.unwrap_err();
    assert_eq!(
        (missing.code(), missing.reason()),
        (ErrorCode::Unavailable, "no_model")
    );
    assert!(
        missing.to_string().contains("ollama pull tinyllama"),
        "{missing}"
    );
}

#[tokio::test]
async fn llm_15_an_unknown_model_is_not_found_with_near_names_and_a_pulled_one_is_found_soon() {
    let node = FakeNode::start(script()).await;
    let fleet = fleet(&[&node]).await;
    assert_eq!(*fleet.resolve("tinyllama").await.unwrap(), *MODEL);
    let unknown = fleet.resolve("tinylama").await.unwrap_err();
    assert_eq!(
        (unknown.code(), unknown.reason()),
        (ErrorCode::NotFound, "model_not_found")
    );
    assert_eq!(unknown.details().metadata["near_names"], MODEL);

    node.update(|script| script.models.push("mistral:7b".into()));
    // The lists are at most a second old when a model is missed.
    let deadline = Instant::now() + SOON;
    while fleet.resolve("mistral:7b").await.is_err() {
        assert!(Instant::now() < deadline, "a pulled model is not found");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(ask(&fleet, "mistral:7b").await.unwrap(), "Hello there");
}

#[tokio::test]
async fn llm_15_a_name_that_is_spelled_so_on_any_node_goes_before_similar_ones() {
    let one = FakeNode::start(Script::new(["TinyLlama:latest"])).await;
    let two = FakeNode::start(script()).await;
    let fleet = fleet(&[&one, &two]).await;
    for (asked, name) in [
        ("tinyllama", MODEL),
        ("library/tinyllama", MODEL),
        ("TinyLlama", "TinyLlama:latest"),
        ("TINYLLAMA", "TinyLlama:latest"),
    ] {
        assert_eq!(*fleet.resolve(asked).await.unwrap(), *name, "{asked}");
    }
    two.update(|script| script.models.clear());
    fleet.refresh(Duration::ZERO).await;
    let only = fleet.resolve("tinyllama").await.unwrap();
    assert_eq!(*only, *"TinyLlama:latest", "the other one is no more");
}

#[tokio::test]
async fn llm_15_a_fleet_without_a_live_node_is_unavailable_not_ignorant() {
    let (one, two) = (
        FakeNode::start(script()).await,
        FakeNode::start(Script::new(["other:1b"])).await,
    );
    let both = fleet(&[&one, &two]).await;
    one.kill();
    both.refresh(Duration::ZERO).await;
    let lost = both.resolve(MODEL).await.unwrap_err();
    assert_eq!(
        (lost.code(), lost.reason()),
        (ErrorCode::Unavailable, "node_unreachable")
    );
    assert!(lost.details().retry_after.is_some());
    two.kill();
    both.refresh(Duration::ZERO).await;
    for model in ["", "anything"] {
        assert_eq!(
            both.resolve(model).await.unwrap_err().reason(),
            "node_unreachable",
            "{model}"
        );
    }
    one.revive();
    two.revive();
    let deadline = Instant::now() + SOON;
    while both.resolve(MODEL).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the node is back and nobody noticed"
        );
        both.refresh(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn lists_are_merged_and_name_the_nodes() {
    let one =
        FakeNode::start(Script::new(["shared:latest", "one:1b"]).loaded(["shared:latest"])).await;
    let two = FakeNode::start(Script::new(["shared:latest", "two:1b"]).demo()).await;
    let fleet = fleet(&[&one, &two]).await;
    let nodes = fleet.nodes();
    assert_eq!(
        nodes.iter().map(|node| node.demo).collect::<Vec<_>>(),
        [false, true]
    );
    let models = fleet.models().await;
    let seen: Vec<_> = models
        .iter()
        .map(|model| (&*model.entry.name, model.nodes.len(), model.loaded_on.len()))
        .collect();
    assert_eq!(
        seen,
        [("shared:latest", 2, 1), ("one:1b", 1, 0), ("two:1b", 1, 0)]
    );
    assert_eq!(models[0].loaded_on, [nodes[0].name.clone()]);
    assert_eq!(fleet.running().await.len(), 1);
    assert_eq!(fleet.version().unwrap(), "0.14.2");
}
