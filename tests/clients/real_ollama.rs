//! The official clients of OpenAI and Ollama, through the platform, on a model that a real Ollama runs.

use serde_json::{Value, json};
use sutazai_servers::{
    ollama::{Ollama, Options},
    scratch,
};
use system_tests::Setup;

use crate::models::Door;

const MODEL: &str = "toy:latest";

/// Fails unless the platform passed on just what Ollama itself says, piece by piece.
fn assert_alike(platform: &Value, itself: &Value, parts: &[&str]) {
    for part in parts {
        assert!(!platform[part].is_null(), "{part}: {platform}");
        assert_eq!(platform[part], itself[part], "{part}");
    }
}

/// Fails unless the answer that was left had begun, and the next caller was served.
fn assert_left(seen: &Value) {
    let pieces = seen["left"]["pieces"].as_array().expect("pieces");
    assert_eq!(pieces.len(), 3, "{seen}");
    assert_ne!(seen["left"]["next"], "", "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_10_official_clients_are_served_by_a_real_ollama_behind_the_platform() {
    let folder = scratch::folder().expect("a folder");
    let options = Options {
        data: folder.join("ollama"),
        port: None,
    };
    let ollama = Ollama::start(options).await.expect("an Ollama");
    ollama.create_toy_model("toy").await.expect("a model");
    let stage = Setup::default().node_at(ollama.url()).start().await;
    let itself = Door {
        url: ollama.url(),
        key: "none is asked for".to_owned(),
        model: MODEL.to_owned(),
        leave: true,
    };
    let platform = Door {
        leave: true,
        ..Door::of(&stage, MODEL)
    };

    let (seen, known) = (platform.ollama().await, itself.ollama().await);
    let parts = ["chat", "chunks", "text", "parts", "embed", "embeddings"];
    assert_alike(&seen, &known, &parts);
    assert_eq!(seen["running"], json!([MODEL]), "{seen}");
    assert_eq!(seen["stranger"]["status"], 401, "{seen}");
    assert_left(&seen);

    let (seen, known) = (platform.openai().await, itself.openai().await);
    let parts = ["whole", "streamed", "packed", "plain"];
    assert_alike(&seen, &known, &parts);
    assert_eq!(seen["stranger"]["kind"], "AuthenticationError", "{seen}");
    assert_left(&seen);

    // The platform's own API is served by the same model.
    let chat = stage.admin().chat("hello").await;
    assert_eq!(chat.status, 200, "{}", chat.text);
    stage.stop().await;
    ollama.stop().await;
}
