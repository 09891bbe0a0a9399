//! `/api/v1/chat/conversations`: what was said, page by page, to nobody else.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sutazai_auth::Principal;
use system_tests::{Client, Stage, newcomer};

use crate::members;

const PATH: &str = "/api/v1/chat/conversations";

/// Begins a conversation and returns its id.
async fn begin(client: &Client, message: &str) -> String {
    let answer = client.chat(message).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["stored"], true, "{}", answer.text);
    answer.json["conversation_id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn ids(items: &[Value]) -> Vec<String> {
    let ids = items.iter().filter_map(|item| item["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn api_08_conversations_are_listed_newest_first_and_read_and_deleted() {
    let client = Stage::shared().await.newcomer();
    let first = begin(&client, "What is the tallest mountain on Earth?").await;
    let second = begin(&client, "And the deepest sea?").await;
    let list = client.get(PATH).await;
    assert_eq!(ids(list.items()), [second.clone(), first.clone()]);
    assert_eq!(
        (&list.json["next_cursor"], list.header("link")),
        (&Value::Null, None)
    );
    let item = &list.items()[1];
    assert_eq!(
        members(item),
        ["created_at", "id", "title", "turns", "updated_at"]
    );
    assert_eq!(item["title"], "What is the tallest mountain on Earth?");
    assert_eq!(item["turns"], 1);

    let path = format!("{PATH}/{first}");
    let whole = client.get(&path).await;
    assert_eq!(whole.status, 200, "{}", whole.text);
    for member in members(item) {
        assert_eq!(whole.json[member], item[member], "{member}");
    }
    let said = whole.json["messages"].as_array().expect("messages");
    let said: Vec<_> = said
        .iter()
        .map(|one| (&one["role"], &one["content"], &one["turn"]))
        .collect();
    assert_eq!(
        said,
        [
            (
                &json!("user"),
                &json!("What is the tallest mountain on Earth?"),
                &json!(1)
            ),
            (&json!("assistant"), &json!("Hello there"), &json!(1)),
        ]
    );

    let gone = client.delete(&path).await;
    assert_eq!((gone.status.as_u16(), &*gone.text), (204, ""));
    for answer in [client.get(&path).await, client.delete(&path).await] {
        answer.assert_problem(404, "conversation_not_found");
    }
    assert_eq!(ids(client.get(PATH).await.items()), [second]);
}

#[tokio::test]
async fn beh_04_no_conversation_is_skipped_or_doubled_while_others_begin() {
    let client = Stage::shared().await.newcomer();
    let mut expected = Vec::new();
    for number in 0..7 {
        expected.push(begin(&client, &format!("conversation {number}")).await);
    }
    expected.reverse();
    let mut seen = Vec::new();
    let mut path = format!("{PATH}?limit=2");
    loop {
        let page = client.get(&path).await;
        assert!(page.items().len() <= 2, "{}", page.text);
        seen.extend(ids(page.items()));
        begin(&client, "in between").await;
        let Some(link) = page.header("link") else {
            assert_eq!(page.json["next_cursor"], Value::Null);
            break;
        };
        let cursor = page.json["next_cursor"].as_str().expect("a cursor");
        path = format!("{PATH}?limit=2&cursor={cursor}");
        assert_eq!(link, format!("<{path}>; rel=\"next\""));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn beh_04_no_conversation_is_skipped_while_others_are_deleted_or_continued() {
    let client = Stage::shared().await.newcomer();
    let mut all = Vec::new();
    for number in 0..6 {
        all.push(begin(&client, &format!("conversation {number}")).await);
    }
    let page = client.get(&format!("{PATH}?limit=2")).await;
    assert_eq!(ids(page.items()), [all[5].clone(), all[4].clone()]);
    // The last one of the page, on which the cursor stands, goes; an older one is continued.
    assert_eq!(
        client.delete(&format!("{PATH}/{}", all[4])).await.status,
        204
    );
    let body = json!({"message": "more", "conversation_id": all[1]});
    assert_eq!(client.post("/api/v1/chat", body).await.status, 200);
    let cursor = page.json["next_cursor"].as_str().expect("a cursor");
    let rest = client.get(&format!("{PATH}?cursor={cursor}")).await;
    let rest: BTreeSet<String> = ids(rest.items()).into_iter().collect();
    assert_eq!(rest, all[..4].iter().cloned().collect());
}

#[tokio::test]
async fn beh_04_the_turns_of_a_conversation_come_in_pages_from_the_newest() {
    let client = Stage::shared().await.newcomer();
    let id = begin(&client, "turn 1").await;
    for turn in 2..=5 {
        let body = json!({"message": format!("turn {turn}"), "conversation_id": id});
        assert_eq!(client.post("/api/v1/chat", body).await.status, 200);
    }
    let (mut pages, mut query) = (Vec::new(), "limit=2".to_owned());
    loop {
        let page = client.get(&format!("{PATH}/{id}?{query}")).await;
        assert_eq!(page.json["turns"], 5, "{}", page.text);
        let messages = page.json["messages"].as_array().expect("messages");
        let turns: Vec<u64> = messages
            .iter()
            .filter_map(|one| one["turn"].as_u64())
            .collect();
        pages.push(turns);
        let Some(cursor) = page.json["next_cursor"].as_str() else {
            break;
        };
        query = format!("limit=2&cursor={cursor}");
    }
    assert_eq!(pages, [vec![4, 4, 5, 5], vec![2, 2, 3, 3], vec![1, 1]]);
    // A cursor holds for its own conversation only.
    let other = begin(&client, "another").await;
    let foreign = client.get(&format!("{PATH}/{other}?{query}")).await;
    foreign.assert_problem(400, "invalid_cursor");
}

#[tokio::test]
async fn sec_05_nobody_else_sees_a_conversation() {
    let stage = Stage::shared().await;
    let owner = newcomer();
    let id = begin(&stage.client_of(&owner), "a secret").await;
    let colleague = Principal {
        tenant: owner.tenant.clone(),
        ..newcomer()
    };
    let namesake = Principal {
        subject: owner.subject.clone(),
        ..newcomer()
    };
    let path = format!("{PATH}/{id}");
    for other in [
        stage.client_of(&colleague),
        stage.client_of(&namesake),
        stage.admin(),
    ] {
        assert!(!other.get(PATH).await.text.contains(&id));
        for answer in [other.get(&path).await, other.delete(&path).await] {
            answer.assert_problem(404, "conversation_not_found");
        }
    }
    assert_eq!(stage.client_of(&owner).get(&path).await.status, 200);
}
