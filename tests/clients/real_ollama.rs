//! The official clients of OpenAI and Ollama, through the platform, on a model that a real Ollama runs.

use serde_json::{Value, json};
use sutazai_servers::{
    ollama::{Ollama, Options},
    scratch,
};
use system_tests::Setup;

use crate::models::Door;

const MODEL: &str = "toy:latest";
/// How often an answer is left before nobody else is to blame, each time on a new Ollama. About one
/// of sixty that a bare Ollama 0.17 is left with keeps its only slot for minutes, and that Ollama is
/// of no more use. What passes no leaving on is late every time.
const TRIES: usize = 5;

/// Fails unless the platform passed on just what Ollama itself says, piece by piece.
fn assert_alike(platform: &Value, itself: &Value, parts: &[&str]) {
    for part in parts {
        assert!(!platform[part].is_null(), "{part}: {platform}");
        assert_eq!(platform[part], itself[part], "{part}");
    }
}

/// Returns whether the next caller was served; fails unless the answer that was left had begun.
fn was_served(seen: &Value) -> bool {
    let pieces = seen["left"]["pieces"].as_array().expect("pieces");
    assert_eq!(pieces.len(), 3, "{seen}");
    assert_ne!(seen["left"]["next"], "", "{seen}");
    !seen["left"]["next"].is_null()
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_10_official_clients_are_served_by_a_real_ollama_behind_the_platform() {
    for left in 1..=TRIES {
        if all_are_served().await {
            return;
        }
        println!("the next caller had to wait, try {left}");
    }
    panic!("who comes after an answer that was left has to wait for its end");
}

/// Lets both clients see everything; returns whether who came after an answer that was left was served.
async fn all_are_served() -> bool {
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
        leave: false,
    };
    let platform = Door {
        leave: true,
        ..Door::of(&stage, MODEL)
    };

    // The platform comes last: what it leaves may keep the model.
    let (known, seen) = (itself.ollama().await, platform.ollama().await);
    let parts = ["chat", "chunks", "text", "parts", "embed", "embeddings"];
    assert_alike(&seen, &known, &parts);
    assert_eq!(seen["running"], json!([MODEL]), "{seen}");
    assert_eq!(seen["stranger"]["status"], 401, "{seen}");
    let mut served = was_served(&seen);
    if served {
        served = openai_is_served(&platform, &itself).await;
    }
    if served {
        // The platform's own API is served by the same model.
        let chat = stage.admin().chat("hello").await;
        assert_eq!(chat.status, 200, "{}", chat.text);
    }
    stage.stop().await;
    ollama.stop().await;
    served
}

/// Lets OpenAI's client see everything; returns what [`was_served`] says.
async fn openai_is_served(platform: &Door, itself: &Door) -> bool {
    let (known, seen) = (itself.openai().await, platform.openai().await);
    let parts = ["whole", "streamed", "packed", "plain"];
    assert_alike(&seen, &known, &parts);
    assert_eq!(seen["stranger"]["kind"], "AuthenticationError", "{seen}");
    was_served(&seen)
}
