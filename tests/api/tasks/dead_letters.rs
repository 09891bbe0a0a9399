//! `/api/v1/tasks/dead-letters`: list, look, send again, remove.

use reqwest::Method;
use serde_json::{Value, json};
use system_tests::{Client, Producer, Stage, eventually, newcomer};

use crate::members;

const PATH: &str = "/api/v1/tasks/dead-letters";

/// Sends what nobody can read, and returns the id of its dead letter.
pub(crate) async fn bury(admin: &Client, producer: &Producer) -> String {
    let message = producer.message("{broken");
    let message_id = message.id.clone();
    producer.send(message).await;
    eventually("a dead letter", async || {
        let list = admin.get(&format!("{PATH}?limit=100")).await;
        let mut letters = list.items().iter();
        let letter = letters.find(|letter| letter["message_id"] == *message_id)?;
        Some(letter["id"].as_str().expect("an id").to_owned())
    })
    .await
}

#[tokio::test]
async fn tsk_07_a_dead_letter_is_shown_with_its_reason_and_its_body() {
    let stage = Stage::shared().await;
    let (admin, producer) = (stage.admin(), Producer::new(stage.broker().clone()).await);
    let id = bury(&admin, &producer).await;
    let letter = admin.get(&format!("{PATH}/{id}")).await;
    assert_eq!(letter.status, 200, "{}", letter.text);
    let letter = letter.json;
    assert_eq!(letter["queue"], "tasks.intake");
    assert_eq!(
        (&letter["body"], &letter["size"]),
        (&json!("{broken"), &json!(7))
    );
    let reason = letter["reason"].as_str().unwrap_or_default();
    assert!(reason.starts_with("invalid_json: "), "{letter}");
    let list = admin.get(&format!("{PATH}?limit=100")).await;
    let listed = list.items().iter().find(|item| item["id"] == *id);
    let listed = listed.expect("in the list");
    assert!(!members(listed).contains(&"body"), "{listed}");

    let refused = producer.answer().await;
    assert_eq!(refused["type"], "sutazai.task.rejected.v1");
    assert_eq!(refused["data"]["reason"], "invalid_json");
}

#[tokio::test]
async fn tsk_07_a_redrive_is_accepted_as_often_as_it_is_asked_for() {
    let stage = Stage::shared().await;
    let (admin, producer) = (stage.admin(), Producer::new(stage.broker().clone()).await);
    let id = bury(&admin, &producer).await;
    let path = format!("{PATH}/{id}");
    for _ in 0..2 {
        let sent = admin.post(&format!("{path}/redrive"), Value::Null).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        assert_eq!(sent.json["id"], *id);
    }
    // It is as broken as before.
    eventually("another death", async || {
        let letter = admin.get(&path).await.json;
        (letter["redrives"] != json!(0) && letter.get("redriven_at").is_none()).then_some(())
    })
    .await;
    assert_eq!(admin.delete(&path).await.status, 204);
    for method in [Method::GET, Method::DELETE] {
        let answer = admin.send(admin.request(method, &path)).await;
        answer.assert_problem(404, "dead_letter_not_found");
    }
}

#[tokio::test]
async fn beh_04_dead_letters_come_in_pages() {
    let stage = Stage::shared().await;
    let (admin, producer) = (stage.admin(), Producer::new(stage.broker().clone()).await);
    let mut expected = Vec::new();
    for _ in 0..3 {
        expected.push(bury(&admin, &producer).await);
    }
    expected.reverse();
    let (mut seen, mut path) = (Vec::new(), format!("{PATH}?limit=1"));
    loop {
        let page = admin.get(&path).await;
        let ids = page.items().iter().filter_map(|item| item["id"].as_str());
        seen.extend(ids.map(str::to_owned));
        if expected.iter().all(|id| seen.contains(id)) {
            break;
        }
        let link = page.header("link").and_then(|link| link.strip_prefix('<'));
        let target = link.and_then(|link| link.split_once('>'));
        path = target.expect("a next page").0.to_owned();
    }
    seen.retain(|id| expected.contains(id));
    assert_eq!(seen, expected, "newest first, each once");
}

#[tokio::test]
async fn sec_05_dead_letters_are_for_operators() {
    let stage = Stage::shared().await;
    let client = stage.client_of(&newcomer());
    let path = format!("{PATH}/{}", crate::UNKNOWN);
    for (method, path) in [
        (Method::GET, PATH.to_owned()),
        (Method::GET, path.clone()),
        (Method::DELETE, path.clone()),
        (Method::POST, format!("{path}/redrive")),
    ] {
        let answer = client.send(client.request(method, &path)).await;
        answer.assert_problem(403, "missing_permission");
    }
}
