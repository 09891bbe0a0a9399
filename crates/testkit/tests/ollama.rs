//! The fake node does on the wire what its script says.

use std::time::Duration;

use sutazai_testkit::ollama::{FakeNode, Fault, Script};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const SOON: Duration = Duration::from_secs(5);

async fn ask(node: &FakeNode, path: &str, body: &str) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(node.address()).await?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all(format!("{head}{body}").as_bytes()).await?;
    Ok(socket)
}

/// Everything until the end or the cut.
async fn answer(node: &FakeNode, path: &str, body: &str) -> String {
    let mut bytes = Vec::new();
    match ask(node, path, body).await {
        Ok(mut socket) => drop(socket.read_to_end(&mut bytes).await),
        Err(error) => return error.kind().to_string(),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn both_dialects_say_every_token_and_the_end() {
    let node = FakeNode::start(Script::new(["tiny:latest"])).await;
    let native = answer(&node, "/api/chat", r#"{"model":"tiny"}"#).await;
    assert!(
        native.contains(r#""content":"Hel""#) && native.contains(r#""done":true"#),
        "{native}"
    );
    let openai = answer(
        &node,
        "/v1/chat/completions",
        r#"{"model":"tiny","stream":true}"#,
    )
    .await;
    assert!(openai.contains("data: [DONE]\n\n"), "{openai}");
    let unknown = answer(&node, "/api/chat", r#"{"model":"huge"}"#).await;
    assert!(unknown.starts_with("HTTP/1.1 404"), "{unknown}");
    assert_eq!(node.requests_to("/api/chat").len(), 2);
    assert_eq!(node.aborted(), 0);
}

#[tokio::test]
async fn an_answer_is_cut_at_the_byte_asked_for() {
    let node = FakeNode::start(Script::new(["tiny:latest"])).await;
    for bytes in [0, 1, 40, 200] {
        node.update(|script| script.fault = Some(Fault::CutAfterBytes(bytes)));
        assert_eq!(
            answer(&node, "/api/chat", r#"{"model":"tiny"}"#)
                .await
                .len(),
            bytes
        );
    }
    assert_eq!(
        node.aborted(),
        0,
        "the node's own cuts are no aborts of the client"
    );
}

#[tokio::test]
async fn a_client_that_leaves_is_recorded() {
    let node =
        FakeNode::start(Script::new(["tiny:latest"]).fault(Fault::StallAfterTokens(1))).await;
    let mut socket = ask(&node, "/api/chat", r#"{"model":"tiny"}"#)
        .await
        .unwrap();
    socket.read_u8().await.unwrap();
    assert_eq!(node.in_flight(), 1);
    drop(socket);
    assert!(node.wait_aborted(1, SOON).await.is_some());
    assert_eq!(node.in_flight(), 0);
}

#[tokio::test]
async fn a_killed_node_refuses_until_it_is_revived() {
    let node = FakeNode::start(Script::new(["tiny:latest"]).fault(Fault::Hang)).await;
    let mut hanging = ask(&node, "/api/chat", r#"{"model":"tiny"}"#)
        .await
        .unwrap();
    node.kill();
    let end = tokio::time::timeout(SOON, hanging.read_to_end(&mut Vec::new())).await;
    assert!(end.is_ok(), "open connections are cut");
    assert!(
        !answer(&node, "/api/chat", r#"{"model":"tiny"}"#)
            .await
            .contains("200 OK")
    );
    node.revive();
    let revived = tokio::time::timeout(SOON, async {
        while !answer(&node, "/api/chat", r#"{"model":"tiny"}"#)
            .await
            .contains("200 OK")
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(
        revived.await.is_ok(),
        "the same port takes connections again"
    );
}
