//! A real Ollama with a model of random weights.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{net::TcpStream, os::unix::fs::PermissionsExt};

use sutazai_servers::ollama::{Ollama, Options};

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(folder.path(), open).unwrap();
    folder
}

#[tokio::test]
async fn it_answers_with_a_model_that_nobody_had_to_fetch_and_leaves_nothing() {
    let folder = folder();
    let options = Options {
        data: folder.path().join("ollama"),
        port: None,
    };
    let server = Ollama::start(options).await.unwrap();
    server.create_toy_model("toy").await.unwrap();
    let said = server.say("toy", "hello").await.unwrap();
    assert!(said.contains(r#""done":true"#), "{said}");
    let port = server.port();
    server.stop().await;
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}
