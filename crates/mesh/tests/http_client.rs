//! The named HTTP clients against a real socket.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode};
use sutazai_mesh::http::HttpClient;
use sutazai_telemetry::{Config, propagate};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tracing::Instrument;

const PATIENCE: Duration = Duration::from_secs(10);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Takes one request, and returns its head and the connection.
async fn request_head(listener: &TcpListener) -> (String, TcpStream) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().to_lowercase(), stream)
}

fn client() -> HttpClient {
    HttpClient::ollama(Duration::from_secs(5)).unwrap()
}

#[tokio::test]
async fn net_06_an_answer_is_there_before_its_body() {
    let _telemetry = sutazai_telemetry::init(&Config::default()).unwrap();
    let (listener, address) = listen().await;
    let client = client();
    let span = tracing::info_span!("test");
    let trace_id = span.in_scope(propagate::trace_id).unwrap();
    let request = client
        .request(Method::POST, format!("http://{address}/api/chat"))
        .body("{}");
    let sending = client.send(request).instrument(span);
    let serving = async {
        let (head, mut stream) = request_head(&listener).await;
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nab")
            .await
            .unwrap();
        (head, stream)
    };
    let both = futures::future::join(sending, serving);
    let (response, (head, mut stream)) = timeout(PATIENCE, both).await.unwrap();
    let mut response = response.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "ab");
    stream.write_all(b"cd").await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "cd");

    assert!(head.starts_with("post /api/chat http/1.1\r\n"), "{head}");
    assert!(
        head.contains(&format!("traceparent: 00-{trace_id}-")),
        "{head}"
    );
    assert!(head.contains("user-agent: sutazai/"), "{head}");
    let totals = sutazai_telemetry::metrics::totals();
    assert!(totals["http_client_requests_total"] >= 1.0, "{totals:?}");
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let (listener, address) = listen().await;
    let client = client();
    let sending = client.send(client.request(Method::GET, format!("http://{address}/")));
    let serving = async {
        let (_, mut stream) = request_head(&listener).await;
        let answer =
            b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
        stream
    };
    let (response, _stream) = timeout(PATIENCE, futures::future::join(sending, serving))
        .await
        .unwrap();
    assert_eq!(response.unwrap().status(), StatusCode::FOUND);
}

#[tokio::test]
async fn nobody_there_is_an_error() {
    let (listener, address) = listen().await;
    drop(listener);
    let client = client();
    let answer = client
        .send(client.request(Method::GET, format!("http://{address}/")))
        .await;
    assert!(answer.unwrap_err().is_connect());
}
