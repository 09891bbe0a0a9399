//! Which model answers.

use serde_json::json;
use sutazai_testkit::ollama::Script;
use system_tests::{Setup, eventually};

use super::CHAT;

#[tokio::test(flavor = "multi_thread")]
async fn llm_15_the_default_model_is_the_configured_one_else_a_loaded_one_else_the_first() {
    let stage = Setup::default()
        .node(Script::new(["alpha:latest", "beta:7b"]).loaded(["beta:7b"]))
        .setting("DEFAULT_MODEL", "gamma")
        .setting("OLLAMA_CHECK_SECONDS", "0.2")
        .start()
        .await;
    let (client, node) = (stage.admin(), &stage.nodes[0]);
    let answers_with = async |expected: &str| {
        eventually(&format!("an answer of {expected}"), async || {
            let answer = client.chat("hello").await;
            assert_eq!(answer.status, 200, "{}", answer.text);
            (answer.json["model"] == expected).then_some(())
        })
        .await;
    };
    answers_with("beta:7b").await;
    node.update(|script| script.loaded.clear());
    answers_with("alpha:latest").await;
    node.update(|script| script.models.push("gamma:latest".to_owned()));
    answers_with("gamma:latest").await;

    node.update(|script| script.models.clear());
    let nothing = eventually("a fleet without models", async || {
        let answer = client.chat("hello").await;
        (answer.json["code"] == "no_model").then_some(answer)
    })
    .await;
    nothing.assert_problem(503, "no_model");
    assert_eq!(nothing.json["facts"]["pull_command"], "ollama pull gamma");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_15_an_unknown_model_is_answered_with_near_names() {
    let script = Script::new(["tinyllama:latest", "mistral:7b"]);
    let stage = Setup::default().node(script).start().await;
    let client = stage.admin();
    let ask = async |model: &str| {
        client
            .post("/api/v1/chat", json!({"message": "hello", "model": model}))
            .await
    };
    let unknown = ask("tinylama").await;
    unknown.assert_problem(404, "model_not_found");
    assert_eq!(unknown.json["facts"]["near_names"], "tinyllama:latest");
    let named = ask("mistral:7b").await;
    assert_eq!(
        (named.status.as_u16(), &named.json["model"]),
        (200, &json!("mistral:7b"))
    );
    let without_tag = ask("tinyllama").await;
    assert_eq!(
        without_tag.json["model"], "tinyllama:latest",
        "{}",
        without_tag.text
    );
    assert_eq!(
        stage.nodes[0].requests_to(CHAT).len(),
        2,
        "the unknown one reached no node"
    );
    stage.stop().await;
}
