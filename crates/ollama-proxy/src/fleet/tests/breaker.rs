//! What counts against a node.

use futures::future::join_all;
use sutazai_resilience::{
    Backoff,
    breaker::{Settings, Snapshot, State},
};
use sutazai_testkit::ollama::Fault as NodeFault;
use tokio::task::JoinHandle;

use super::*;

async fn after(fault: Option<NodeFault>, requests: usize) -> (Snapshot, FakeNode, Arc<Fleet>) {
    let node = FakeNode::start(script()).await;
    let setup = Setup::of(&[&node]);
    let breakers = setup.breakers.clone();
    let fleet = setup.build().await;
    node.update(|script| script.fault = fault);
    // At most as many at once as there are slots, so that nobody waits in the queue.
    for _ in 0..requests.div_ceil(4) {
        join_all((0..requests.min(4)).map(|_| ask(&fleet, MODEL))).await;
    }
    (breakers.list().remove(0), node, fleet)
}

#[tokio::test]
async fn olp_04_the_breaker_opens_on_refusal_server_errors_cuts_and_silence() {
    let faults = [
        NodeFault::Refuse,
        NodeFault::Status(500),
        NodeFault::CutAfterBytes(0),
        NodeFault::Hang,
        NodeFault::Empty,
    ];
    join_all(faults.map(|fault| async move {
        let (breaker, node, fleet) = after(Some(fault.clone()), 8).await;
        assert_eq!(breaker.state, State::Open, "{fault:?}: {breaker:?}");
        let before = node.requests_to("/api/chat").len();
        let refused = open(&fleet, MODEL).await.map(drop).unwrap_err();
        assert_eq!(
            (refused.code(), refused.reason()),
            (ErrorCode::Unavailable, "node_unreachable")
        );
        assert!(
            refused
                .details()
                .retry_after
                .is_some_and(|after| !after.is_zero()),
            "{refused}"
        );
        assert_eq!(
            node.requests_to("/api/chat").len(),
            before,
            "an open breaker lets nothing through"
        );
        idle(&fleet).await;
    }))
    .await;
}

#[tokio::test]
async fn olp_04_long_answers_and_what_goes_wrong_later_leave_it_closed() {
    for fault in [
        NodeFault::StallAfterTokens(1),
        NodeFault::EndAfterTokens(1),
        NodeFault::GarbageAfterTokens(1),
    ] {
        let (breaker, _node, fleet) = after(Some(fault.clone()), 8).await;
        assert_eq!(
            (breaker.state, breaker.failures),
            (State::Closed, 0),
            "{fault:?}"
        );
        idle(&fleet).await;
    }
    let node = FakeNode::start(
        script()
            .tokens(vec!["x"; 20])
            .between_tokens(scaled(100) / 20),
    )
    .await;
    let setup = Setup::of(&[&node]);
    let breakers = setup.breakers.clone();
    assert!(ask(&*setup.build().await, MODEL).await.is_ok());
    assert_eq!(
        (breakers.list()[0].state, breakers.list()[0].failures),
        (State::Closed, 0)
    );
}

#[tokio::test]
async fn olp_04_a_refused_request_and_a_caller_who_leaves_count_for_nothing() {
    let (breaker, _node, fleet) = after(Some(NodeFault::Status(400)), 8).await;
    assert_eq!((breaker.state, breaker.failures), (State::Closed, 0));
    assert_eq!(
        reason(open(&fleet, MODEL).await),
        (ErrorCode::InvalidArgument, "validation_failed".to_owned())
    );
}

#[tokio::test]
async fn olp_04_a_node_that_recovers_is_used_again() {
    let (breaker, node, fleet) = after(Some(NodeFault::Status(500)), 8).await;
    assert_eq!(breaker.state, State::Open);
    node.update(|script| script.fault = None);
    let deadline = Instant::now() + SOON;
    while ask(&fleet, MODEL).await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the breaker does not close again"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// How long the breaker of [`probed`] stays open.
const OPEN_FOR: Duration = Duration::from_millis(200);

/// A slow node whose breaker had opened, while the first request runs as its probe, alone.
async fn probed(script: Script) -> (FakeNode, Arc<Fleet>, JoinHandle<Result<String, Error>>) {
    let node = FakeNode::start(script.first_token_after(Duration::from_millis(600))).await;
    let mut setup = Setup::of(&[&node]);
    setup.config.queue_wait = SOON;
    let settings = Settings {
        consecutive_failures: 1,
        open_for: Backoff {
            min: OPEN_FOR,
            max: OPEN_FOR,
        },
    };
    let name = format!("ollama:{}", node.address());
    let breaker = setup.breakers.get_with(&name, settings);
    let fleet = setup.build().await;
    breaker.permit().unwrap().failure("test");
    tokio::time::sleep(OPEN_FOR * 2).await;
    let probe = asking(&fleet);
    reached(&node, 1).await;
    assert!(breaker.is_probing());
    (node, fleet, probe)
}

fn asking(fleet: &Arc<Fleet>) -> JoinHandle<Result<String, Error>> {
    let fleet = fleet.clone();
    tokio::spawn(async move { ask(&fleet, MODEL).await })
}

/// Sends requests that have to wait.
async fn waiting(fleet: &Arc<Fleet>, count: usize) -> Vec<JoinHandle<Result<String, Error>>> {
    let tasks = (0..count).map(|_| asking(fleet)).collect();
    let deadline = Instant::now() + SOON;
    while fleet.queued() < count {
        assert!(Instant::now() < deadline, "they do not wait");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tasks
}

/// Waits until the node has seen that many requests.
async fn reached(node: &FakeNode, requests: usize) {
    let deadline = Instant::now() + SOON;
    while node.requests_to("/api/chat").len() < requests {
        assert!(Instant::now() < deadline, "a request does not arrive");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn olp_04_who_comes_while_a_node_is_probed_waits_and_is_served() {
    let (node, fleet, probe) = probed(script()).await;
    let waiting = waiting(&fleet, 3).await;
    assert_eq!(node.requests_to("/api/chat").len(), 1, "the probe is alone");
    assert_eq!(probe.await.unwrap().unwrap(), "Hello there");
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), "Hello there");
    }
    idle(&fleet).await;
}

#[tokio::test]
async fn olp_04_a_probe_that_fails_sends_away_who_waits_for_it() {
    let (node, fleet, probe) = probed(script().fault(NodeFault::Status(500))).await;
    let waiting = waiting(&fleet, 3).await;
    assert_eq!(
        reason(probe.await.unwrap()),
        (ErrorCode::BadUpstream, "node_failed".to_owned())
    );
    for answer in join_all(waiting).await {
        let refused = answer.unwrap().unwrap_err();
        assert_eq!(
            (refused.code(), refused.reason()),
            (ErrorCode::Unavailable, "node_unreachable")
        );
        assert!(refused.details().retry_after.is_some(), "{refused}");
    }
    assert_eq!(node.requests_to("/api/chat").len(), 1);
    idle(&fleet).await;
}

#[tokio::test]
async fn olp_04_a_probe_whose_caller_goes_away_lets_the_next_one_probe() {
    let (node, fleet, probe) = probed(script()).await;
    let waiting = waiting(&fleet, 3).await;
    probe.abort();
    for answer in join_all(waiting).await {
        assert_eq!(answer.unwrap().unwrap(), "Hello there");
    }
    assert_eq!(
        (node.requests_to("/api/chat").len(), node.aborted()),
        (4, 1)
    );
    idle(&fleet).await;
}
