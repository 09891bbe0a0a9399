//! Lists while a node takes its time.

use axum::{Json, Router, http::Uri};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::ollama::NodeUrl;

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3_600);

/// Less than the limit of a health check, and much more than a list may take.
const LATE: Duration = Duration::from_secs(1);

/// Starts a node that answers a health check after this time, and returns where it is.
async fn slow(after: Duration) -> NodeUrl {
    let lists = Router::new().fallback(move |uri: Uri| async move {
        tokio::time::sleep(after).await;
        Json(match uri.path() {
            "/api/version" => json!({"version": "0.14.2"}),
            "/api/tags" => json!({"models": [{"name": "slow:1b"}]}),
            _ => json!({"models": []}),
        })
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, lists).await });
    url.parse().unwrap()
}

/// Where nobody listens.
async fn gone() -> NodeUrl {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    url.parse().unwrap()
}

fn at(node: &FakeNode) -> NodeUrl {
    node.url().parse().unwrap()
}

/// A fleet that has asked none of its nodes yet.
fn unasked(nodes: Vec<NodeUrl>) -> Arc<Fleet> {
    let mut setup = Setup::of(&[]);
    setup.config.nodes = nodes;
    let client = NodeClient::new(setup.config.limits.connect);
    Arc::new(Fleet::new(
        setup.config,
        Client::new(client),
        &setup.breakers,
    ))
}

async fn names(fleet: &Arc<Fleet>) -> Vec<String> {
    let models = fleet.models().await;
    let names = models.iter().map(|model| model.entry.name.to_string());
    names.collect()
}

#[tokio::test]
async fn beh_08_a_silent_node_holds_up_no_list() {
    let node = FakeNode::start(script().loaded([MODEL])).await;
    let fleet = unasked(vec![slow(NEVER).await, at(&node)]);
    for _ in 0..3 {
        let asked = Instant::now();
        assert_eq!(names(&fleet).await, [MODEL]);
        assert_eq!(fleet.running().await.len(), 1);
        assert!(asked.elapsed() < LATE, "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn beh_08_nothing_known_is_not_shown_as_an_empty_list() {
    for other in [slow(NEVER).await, gone().await] {
        let fleet = unasked(vec![other, slow(Duration::from_millis(300)).await]);
        let asked = Instant::now();
        assert_eq!(names(&fleet).await, ["slow:1b"]);
        assert!(asked.elapsed() < LATE, "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn beh_08_nodes_that_are_known_to_be_silent_are_not_waited_for() {
    let fleet = unasked(vec![slow(NEVER).await]);
    assert_eq!(names(&fleet).await, [] as [&str; 0]);
    assert!(fleet.nodes()[0].last_error.is_some(), "it was waited for");
    // So that the list asks anew.
    *fleet.checked.lock().await = None;
    let asked = Instant::now();
    assert_eq!(names(&fleet).await, [] as [&str; 0]);
    assert!(asked.elapsed() < LATE, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn beh_08_what_comes_after_a_list_has_left_is_in_the_next_one() {
    let node = FakeNode::start(script()).await;
    let fleet = unasked(vec![at(&node), slow(LATE).await]);
    assert_eq!(names(&fleet).await, [MODEL]);
    let deadline = Instant::now() + SOON;
    while !fleet.nodes()[1].live {
        assert!(Instant::now() < deadline, "nobody listens any more");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(names(&fleet).await, [MODEL, "slow:1b"]);
    assert!(fleet.checked.lock().await.is_some(), "the round counts");
}
