//! What comes back from a node, whole or not.

use sutazai_testkit::ollama::Fault as NodeFault;

use super::*;

#[tokio::test]
async fn llm_01_long_generations_complete() {
    let node = FakeNode::start(script()).await;
    let fleet = fleet(&[&node]).await;
    for seconds in [15, 30, 60, 110] {
        let tokens = vec!["token "; 22];
        let pause = scaled(seconds) / 22;
        node.set_script(script().tokens(tokens).between_tokens(pause));
        let started = Instant::now();
        assert_eq!(ask(&fleet, MODEL).await.unwrap(), "token ".repeat(22));
        assert!(started.elapsed() > pause * 20, "the node did take its time");
    }
    idle(&fleet).await;
}

#[tokio::test]
async fn llm_01_a_first_token_may_take_long() {
    let node = FakeNode::start(script().first_token_after(scaled(90))).await;
    assert!(ask(&*fleet(&[&node]).await, MODEL).await.is_ok());
}

#[tokio::test]
async fn llm_04_each_silence_has_an_end_and_a_name() {
    let node = FakeNode::start(script()).await;
    let breakers = Setup::of(&[&node]).breakers;
    let setup = Setup {
        breakers: breakers.clone(),
        ..Setup::of(&[&node])
    };
    let fleet = setup.build().await;
    let name = breakers.list()[0].name.clone();
    for (fault, expected, limit) in [
        (NodeFault::Hang, "first_token_timeout", scaled(120)),
        (NodeFault::HangAfterHead, "first_token_timeout", scaled(120)),
        (
            NodeFault::StallAfterTokens(2),
            "silence_timeout",
            scaled(30),
        ),
    ] {
        node.set_script(script().fault(fault.clone()));
        let (started, aborted) = (Instant::now(), node.aborted());
        let answer = ask(&fleet, MODEL).await;
        assert_eq!(
            reason(answer),
            (ErrorCode::DeadlineExceeded, expected.to_owned()),
            "{fault:?}"
        );
        assert!(started.elapsed() >= limit, "{fault:?}");
        assert!(
            node.wait_aborted(aborted + 1, SOON).await.is_some(),
            "{fault:?}"
        );
        breakers.get(&name).reset("test");
    }
    idle(&fleet).await;
}

#[tokio::test]
async fn llm_04_the_total_ends_an_answer_that_never_falls_silent() {
    let node = FakeNode::start(
        script()
            .tokens(vec!["x"; 1000])
            .between_tokens(Duration::from_millis(5)),
    )
    .await;
    let mut setup = Setup::of(&[&node]);
    setup.config.limits.total = Duration::from_millis(500);
    setup.config.limits.first_token = Duration::from_millis(400);
    let (text, end) = listen(&mut open(&*setup.build().await, MODEL).await.unwrap()).await;
    assert!(!text.is_empty());
    assert_eq!(
        reason(end),
        (ErrorCode::DeadlineExceeded, "total_timeout".to_owned())
    );
}

#[tokio::test]
async fn llm_04_the_deadline_of_the_caller_is_no_fault_of_the_node() {
    let node = FakeNode::start(script().fault(NodeFault::Hang)).await;
    let setup = Setup::of(&[&node]);
    let breakers = setup.breakers.clone();
    let fleet = setup.build().await;
    let soon = Some(Deadline::after(Duration::from_millis(50)));
    let answer = chat::open(&fleet, &order(MODEL), soon).await;
    assert_eq!(
        reason(answer),
        (ErrorCode::DeadlineExceeded, "deadline_exceeded".to_owned())
    );
    assert_eq!(breakers.list()[0].failures, 0);
    idle(&fleet).await;
}

/// Cuts the connection at every byte of an answer. Until the first token it is a plain error;
/// later it is an error after the text that had come; nothing is taken for complete but the whole.
#[tokio::test]
async fn llm_02_a_cut_at_any_byte_is_an_error_and_never_a_shorter_answer() {
    let node = FakeNode::start(script()).await;
    let setup = Setup::of(&[&node]);
    let breakers = setup.breakers.clone();
    let fleet = setup.build().await;
    let name = breakers.list()[0].name.clone();
    let (mut before, mut inside, mut complete) = (0, 0, 0);
    for bytes in 0.. {
        node.set_script(script().fault(NodeFault::CutAfterBytes(bytes)));
        match open(&fleet, MODEL).await {
            Err(error) => {
                assert_eq!(
                    error.code(),
                    ErrorCode::BadUpstream,
                    "byte {bytes}: {error}"
                );
                assert_eq!(
                    (inside, complete),
                    (0, 0),
                    "byte {bytes}: an error after a success"
                );
                before += 1;
                breakers.get(&name).reset("test");
            }
            Ok(mut tokens) => match listen(&mut tokens).await {
                (text, Ok(Some(_))) => {
                    assert_eq!(text, "Hello there", "byte {bytes}");
                    complete += 1;
                }
                (text, end) => {
                    assert!(
                        "Hello there".starts_with(&text) && !text.is_empty(),
                        "byte {bytes}"
                    );
                    assert_eq!(
                        reason(end),
                        (ErrorCode::BadUpstream, "node_failed".to_owned())
                    );
                    assert_eq!(
                        complete, 0,
                        "byte {bytes}: an error after a complete answer"
                    );
                    inside += 1;
                }
            },
        }
        // The last line was whole a few bytes ago: the rest is the end of the chunked body.
        if complete > 8 {
            break;
        }
    }
    assert!(
        before > 150 && inside > 300,
        "{before} before and {inside} inside the answer"
    );
    idle(&fleet).await;
}

#[tokio::test]
async fn llm_02_each_failure_of_a_node_has_its_code_and_reason() {
    let node = FakeNode::start(script()).await;
    let fleet = fleet(&[&node]).await;
    for (fault, code, expected) in [
        (
            NodeFault::Status(500),
            ErrorCode::BadUpstream,
            "node_failed",
        ),
        (
            NodeFault::GarbageAfterTokens(0),
            ErrorCode::BadUpstream,
            "node_failed",
        ),
        (
            NodeFault::ErrorAfterTokens(0),
            ErrorCode::BadUpstream,
            "node_failed",
        ),
    ] {
        node.set_script(script().fault(fault.clone()));
        assert_eq!(
            reason(open(&fleet, MODEL).await),
            (code, expected.to_owned()),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn llm_02_a_node_that_is_gone_is_unavailable() {
    let node = FakeNode::start(script()).await;
    let setup = Setup::of(&[&node]);
    let breakers = setup.breakers.clone();
    let fleet = setup.build().await;
    node.kill();
    let deadline = Instant::now() + SOON;
    // An open connection may still be there, and break; the next one can not be made.
    while reason(open(&fleet, MODEL).await)
        != (ErrorCode::Unavailable, "node_unreachable".to_owned())
    {
        assert!(Instant::now() < deadline);
    }
    assert!(breakers.list()[0].failures > 0);
}

#[tokio::test]
async fn llm_02_a_failure_after_the_first_token_keeps_what_was_said_and_ends_abnormally() {
    let node = FakeNode::start(script()).await;
    let fleet = fleet(&[&node]).await;
    for fault in [
        NodeFault::GarbageAfterTokens(2),
        NodeFault::ErrorAfterTokens(2),
        NodeFault::EndAfterTokens(2),
    ] {
        node.set_script(script().fault(fault.clone()));
        let (text, end) = listen(&mut open(&fleet, MODEL).await.unwrap()).await;
        assert_eq!(text, "Hello", "{fault:?}");
        assert_eq!(
            reason(end),
            (ErrorCode::BadUpstream, "node_failed".to_owned()),
            "{fault:?}"
        );
    }
}

#[tokio::test]
async fn llm_03_an_empty_answer_is_asked_for_once_more_and_then_reported() {
    let empty = || FakeNode::start(script().fault(NodeFault::Empty));
    let (one, two, three) = (empty().await, empty().await, empty().await);
    let alone = ask(&*fleet(&[&one]).await, MODEL).await;
    assert_eq!(
        reason(alone),
        (ErrorCode::BadUpstream, "empty_answer".to_owned())
    );
    assert_eq!(one.requests_to("/api/chat").len(), 1);

    let of_three = ask(&*fleet(&[&one, &two, &three]).await, MODEL).await;
    assert_eq!(
        reason(of_three),
        (ErrorCode::BadUpstream, "empty_answer".to_owned())
    );
    let asked = [&one, &two, &three].map(|node| node.requests_to("/api/chat").len());
    assert_eq!(
        asked.iter().sum::<usize>(),
        3,
        "one before and two of these: {asked:?}"
    );

    let healthy = FakeNode::start(script()).await;
    assert_eq!(
        ask(&*fleet(&[&one, &healthy]).await, MODEL).await.unwrap(),
        "Hello there"
    );
}

#[tokio::test]
async fn llm_03_a_model_that_reports_a_normal_stop_may_say_nothing() {
    let node = FakeNode::start(script().tokens([] as [&str; 0])).await;
    let mut tokens = open(&*fleet(&[&node]).await, MODEL).await.unwrap();
    let (text, end) = listen(&mut tokens).await;
    assert_eq!(text, "");
    assert_eq!(end.unwrap().unwrap().completion_tokens, 0);
}

#[tokio::test]
async fn llm_04_who_leaves_aborts_the_node_and_gives_the_slot_back() {
    let node = FakeNode::start(script().fault(NodeFault::StallAfterTokens(1))).await;
    let fleet = fleet(&[&node]).await;
    let tokens = open(&fleet, MODEL).await.unwrap();
    assert_eq!(fleet.nodes()[0].in_flight, 1);
    let left = Instant::now();
    drop(tokens);
    let aborted = node.wait_aborted(1, SOON).await.unwrap();
    assert!(
        aborted - left <= Duration::from_millis(250),
        "{:?}",
        aborted - left
    );
    idle(&fleet).await;

    // Before the first token too.
    node.update(|script| script.fault = Some(NodeFault::Hang));
    let opening = tokio::spawn({
        let fleet = fleet.clone();
        async move { open(&fleet, MODEL).await.map(drop) }
    });
    while node.in_flight() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let left = Instant::now();
    opening.abort();
    let aborted = node.wait_aborted(2, SOON).await.unwrap();
    assert!(
        aborted - left <= Duration::from_millis(250),
        "{:?}",
        aborted - left
    );
    idle(&fleet).await;
}

#[tokio::test]
async fn a_finished_answer_leaves_its_connection_for_the_next_one() {
    let node = FakeNode::start(script()).await;
    let fleet = fleet(&[&node]).await;
    for _ in 0..5 {
        ask(&fleet, MODEL).await.unwrap();
    }
    assert_eq!(node.aborted(), 0);
    assert_eq!(fleet.nodes()[0].last_error, None);
}
