use std::{future::IntoFuture, net::SocketAddr};

use axum::{Router, routing::get};
use sutazai_proto::{ErrorCode, RemoteError};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::*;

/// Serves one stream on a real socket.
async fn serve(events: fn() -> Vec<Result<Event, RemoteError>>) -> SocketAddr {
    let app = Router::new().route(
        "/",
        get(async move || answer(Occurrence::default(), stream::iter(events()))),
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

/// Returns all that the server sends until it closes the connection.
async fn fetch(address: SocketAddr) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    timeout(Duration::from_secs(10), socket.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(answer).unwrap()
}

fn token(text: &str) -> Event {
    event("token", &serde_json::json!({ "content": text }))
}

#[tokio::test]
async fn each_event_is_one_line_of_json() {
    let address = serve(|| vec![Ok(token("a\nb\r\nc")), Ok(token("ü").id("7"))]).await;
    let answer = fetch(address).await;
    assert!(
        answer.contains("event: token\ndata: {\"content\":\"a\\nb\\r\\nc\"}\n\n"),
        "{answer}"
    );
    assert!(
        answer.contains("event: token\ndata: {\"content\":\"ü\"}\nid: 7\n\n"),
        "{answer}"
    );
    assert!(answer.contains("x-accel-buffering: no"), "{answer}");
    assert!(
        answer.ends_with("0\r\n\r\n"),
        "a regular end closes the chunked body: {answer}"
    );
}

#[tokio::test]
async fn llm_02_a_failure_is_an_error_event_and_an_abnormal_end() {
    let address = serve(|| {
        let failure = RemoteError::new(ErrorCode::BadUpstream, "node_failed", "the node broke off");
        vec![Ok(token("a")), Err(failure), Ok(token("never"))]
    })
    .await;
    let answer = fetch(address).await;
    assert!(answer.contains("event: error\ndata: {"), "{answer}");
    assert!(answer.contains("\"code\":\"node_failed\""), "{answer}");
    assert!(!answer.contains("never"), "{answer}");
    assert!(
        !answer.contains("0\r\n\r\n"),
        "the chunked body has no end: {answer}"
    );
}
