//! `/api/v1/chat`: a question and its answer, whole or as it comes.

mod conversations;

use reqwest::Method;
use serde_json::json;
use sutazai_testkit::ollama::Script;
use system_tests::{Client, Setup, Stage};

use crate::{MODEL, UNKNOWN, members};

const PATH: &str = "/api/v1/chat";
/// What an answer holds: the five members that were always promised, and two more.
const ANSWER: [&str; 7] = [
    "cached",
    "conversation_id",
    "finish_reason",
    "model",
    "response",
    "stored",
    "usage",
];
const USAGE: [&str; 3] = ["completion_tokens", "duration_ms", "prompt_tokens"];

#[tokio::test]
async fn api_08_a_message_alone_is_answered_in_full() {
    let stage = Stage::shared().await;
    let answer = stage.newcomer().chat("hello").await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(members(&answer.json), ANSWER);
    assert_eq!(answer.json["response"], "Hello there");
    assert_eq!(answer.json["model"], MODEL);
    assert_eq!(answer.json["cached"], false);
    assert_eq!(answer.json["finish_reason"], "stop");
    assert_eq!(answer.json["stored"], true);
    let expected = json!({"prompt_tokens": 7, "completion_tokens": 3, "duration_ms": 5});
    assert_eq!(answer.json["usage"], expected);
    let id = answer.json["conversation_id"].as_str().expect("an id");
    assert!(uuid::Uuid::try_parse(id).is_ok(), "{id}");
}

#[tokio::test]
async fn api_08_a_stream_says_the_same_in_events() {
    let stage = Stage::shared().await;
    let client = stage.newcomer();
    let head = client
        .streamed_chat("hello")
        .send()
        .await
        .expect("an answer");
    let header = |name: &str| {
        head.headers()
            .get(name)
            .map(|value| value.to_str().unwrap_or_default())
    };
    assert_eq!(head.status(), 200);
    assert_eq!(header("content-type"), Some("text/event-stream"));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(header("x-accel-buffering"), Some("no"));
    assert_eq!(header("content-encoding"), None);
    assert_eq!(header("content-length"), None);

    let rest = client
        .events(client.streamed_chat("hello"))
        .await
        .rest()
        .await;
    assert!(!rest.cut);
    assert_eq!(rest.kinds(), ["start", "token", "token", "token", "done"]);
    assert_eq!(rest.text(), "Hello there");
    let (start, done) = (rest.events[0].json(), rest.events[4].json());
    assert_eq!(members(&start), ["conversation_id", "model"]);
    let of_done: Vec<&str> = ANSWER
        .into_iter()
        .filter(|name| *name != "response")
        .collect();
    assert_eq!(
        (members(&done), members(&done["usage"])),
        (of_done, USAGE.to_vec())
    );
    assert_eq!(start["conversation_id"], done["conversation_id"]);
    let tokens = rest.events.iter().filter(|event| event.kind == "token");
    for token in tokens {
        assert_eq!(members(&token.json()), ["content"]);
    }
}

#[tokio::test]
async fn api_08_text_survives_in_every_script_and_with_every_line_break() {
    let tokens = [
        "Zwölf ",
        "🦀\n\n",
        "data: x\r\n",
        "\u{2028}",
        "\"\\",
        "\tend",
    ];
    let stage = Setup::default()
        .node(Script::new([MODEL]).tokens(tokens))
        .start()
        .await;
    let client = stage.admin();
    let question = "naïve?\n\ndata: [DONE]\r\n\u{1f980}";
    let whole = client.chat(question).await;
    assert_eq!(whole.json["response"], tokens.concat(), "{}", whole.text);
    let rest = client
        .events(client.streamed_chat(question))
        .await
        .rest()
        .await;
    assert_eq!(rest.text(), tokens.concat());
    for asked in stage.nodes[0].requests_to("/api/chat") {
        assert_eq!(asked.body["messages"][0]["content"], question);
    }
    stage.stop().await;
}

#[tokio::test]
async fn api_08_options_reach_the_node() {
    let stage = Stage::start().await;
    let options = json!({
        "temperature": 0.5, "top_p": 0.9, "seed": -7, "max_tokens": 64, "context_length": 2048, "stop": ["END"],
    });
    let body = json!({"message": "hello", "model": "tinyllama", "options": options});
    let answer = stage.admin().post(PATH, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let asked = stage.nodes[0].requests_to("/api/chat");
    let expected = json!({
        "temperature": 0.5, "top_p": 0.9, "seed": -7, "num_predict": 64, "num_ctx": 2048, "stop": ["END"],
    });
    assert_eq!(asked[0].body["options"], expected, "{}", asked[0].body);
    assert_eq!(asked[0].body["model"], MODEL);
    stage.stop().await;
}

async fn continued(client: &Client, conversation: &str) -> system_tests::Answer {
    let body = json!({"message": "more", "conversation_id": conversation});
    client.post(PATH, body).await
}

#[tokio::test]
async fn sec_10_a_conversation_to_continue_is_an_id_of_ones_own() {
    let stage = Stage::shared().await;
    let (owner, other) = (stage.newcomer(), stage.newcomer());
    let first = owner.chat("one").await;
    let id = first.json["conversation_id"].as_str().expect("an id");
    assert_eq!(continued(&owner, id).await.status, 200);
    let foreign = continued(&other, id).await;
    foreign.assert_problem(404, "conversation_not_found");
    continued(&owner, UNKNOWN)
        .await
        .assert_problem(404, "conversation_not_found");
    let wrong = continued(&owner, "7").await;
    wrong.assert_problem(400, "invalid_id");
    assert_eq!(wrong.json["errors"][0]["pointer"], "/conversation_id");
    // A stream that can not begin is no stream.
    let body = json!({"message": "more", "conversation_id": UNKNOWN, "stream": true});
    let request = owner.request(Method::POST, PATH).json(&body);
    owner
        .send(request)
        .await
        .assert_problem(404, "conversation_not_found");
}
