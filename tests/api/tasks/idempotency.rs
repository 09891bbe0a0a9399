//! `Idempotency-Key`: a submission that may be repeated.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{Answer, Client, Stage, eventually};

use super::{PATH, TYPE, ids};

fn body(prompt: &str) -> Value {
    json!({"type": TYPE, "input": {"prompt": prompt}})
}

async fn submit(client: &Client, keys: &[&str], body: &Value) -> Answer {
    let mut request = client.request(Method::POST, PATH).json(body);
    for key in keys {
        request = request.header("idempotency-key", *key);
    }
    client.send(request).await
}

#[tokio::test]
async fn tsk_01_a_repeated_submission_gets_the_same_task() {
    let client = Stage::shared().await.newcomer();
    let first = submit(&client, &["order-7"], &body("hello")).await;
    assert_eq!(first.status, 202, "{}", first.text);
    assert_eq!(first.header("idempotency-replayed"), None);
    let id = &first.json["id"];
    // Quoted or bare, before and after its end, the key is the same.
    client.finished(id.as_str().expect("an id")).await;
    for key in ["order-7", "\"order-7\"", " order-7 "] {
        let again = submit(&client, &[key], &body("hello")).await;
        assert_eq!(
            (again.status.as_u16(), &again.json["id"]),
            (202, id),
            "{}",
            again.text
        );
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), first.header("location"));
    }
    assert_eq!(client.get(PATH).await.items().len(), 1);
}

#[tokio::test]
async fn tsk_01_a_key_of_another_request_is_refused_and_of_another_person_is_another() {
    let stage = Stage::shared().await;
    let (client, other) = (stage.newcomer(), stage.newcomer());
    let first = submit(&client, &["k"], &body("hello")).await;
    for changed in [
        body("goodbye"),
        json!({"type": TYPE, "input": {"prompt": "hello"}, "priority": 9}),
        json!({"type": "automation.plan", "input": {"prompt": "hello"}}),
    ] {
        let refused = submit(&client, &["k"], &changed).await;
        refused.assert_problem(422, "idempotency_key_reused");
    }
    let theirs = submit(&other, &["k"], &body("hello")).await;
    assert_eq!(theirs.status, 202, "{}", theirs.text);
    assert_ne!(theirs.json["id"], first.json["id"]);
    eventually("one task of each", async || {
        let mine = ids(client.get(PATH).await.items());
        (mine == [first.json["id"].as_str().expect("an id")]).then_some(())
    })
    .await;
}

#[tokio::test]
async fn tsk_01_a_malformed_key_is_refused() {
    let client = Stage::shared().await.newcomer();
    let long = "k".repeat(256);
    for keys in [
        &[""][..],
        &["\"\""],
        &["\"open"],
        &["a b"],
        &["a,b"],
        &["\"a\";p=1"],
        &["schlüssel"],
        &[&long],
        &["a", "a"],
    ] {
        let answer = submit(&client, keys, &body("hello")).await;
        answer.assert_problem(400, "idempotency_key_malformed");
        assert_eq!(answer.json["errors"][0]["pointer"], "Idempotency-Key");
    }
    assert_eq!(
        client.get(PATH).await.items(),
        [] as [Value; 0],
        "nothing was stored"
    );
    assert_eq!(
        submit(&client, &[&long[1..]], &body("hello")).await.status,
        202
    );
}
