//! `/api/v1/tasks`: submit, list, get; their stories are told in `flows`.

pub(crate) mod dead_letters;
mod idempotency;

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sutazai_auth::Principal;
use system_tests::{Client, Stage, newcomer};

use crate::{UNKNOWN, members};

const PATH: &str = "/api/v1/tasks";
const TYPE: &str = "llm.generate";

async fn submit(client: &Client) -> String {
    client.submit(TYPE, json!({"prompt": "hello"})).await
}

fn ids(items: &[Value]) -> Vec<String> {
    let ids = items.iter().filter_map(|item| item["id"].as_str());
    ids.map(str::to_owned).collect()
}

#[tokio::test]
async fn api_09_a_submitted_task_is_accepted_and_found_where_location_says() {
    let principal = newcomer();
    let client = Stage::shared().await.client_of(&principal);
    let body = json!({
        "type": TYPE, "input": {"prompt": "hello"}, "priority": 7, "max_attempts": 2, "expires_in_seconds": 3600,
    });
    let accepted = client.post(PATH, body).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    let id = accepted.json["id"].as_str().expect("an id");
    assert_eq!(accepted.header("location"), Some(&*format!("{PATH}/{id}")));
    assert_eq!(accepted.header("idempotency-replayed"), None);
    for (member, expected) in [
        ("type", json!(TYPE)),
        ("state", json!("queued")),
        ("priority", json!(7)),
        ("attempt", json!(0)),
        ("max_attempts", json!(2)),
        ("effect_mode", json!("idempotent")),
        ("input", json!({"prompt": "hello"})),
        ("cancel_requested", json!(false)),
        ("subject", json!(principal.subject)),
    ] {
        assert_eq!(accepted.json[member], expected, "{member}");
    }
    assert!(accepted.json["expires_at"].is_string());
    let done = client.finished(id).await;
    assert_eq!(
        (&done["state"], &done["attempt"]),
        (&json!("succeeded"), &json!(1)),
        "{done}"
    );
    assert_eq!(done["result"]["text"], "Hello there", "{done}");
    assert!(done["finished_at"].is_string());
}

#[tokio::test]
async fn api_09_an_input_is_kept_byte_for_byte() {
    let client = Stage::shared().await.newcomer();
    let input =
        r#"{ "prompt":"hello","big" : 123456789012345678901234567890, "e":1.0E+2,"ü":"\u00fc" }"#;
    let request = client
        .request(Method::POST, PATH)
        .header("content-type", "application/json")
        .body(format!(r#"{{"type":"{TYPE}","input":{input}}}"#));
    let accepted = client.send(request).await;
    assert_eq!(accepted.status, 202, "{}", accepted.text);
    assert!(accepted.text.contains(input), "{}", accepted.text);
    let id = accepted.json["id"].as_str().expect("an id");
    let found = client.get(&format!("{PATH}/{id}")).await;
    assert!(found.text.contains(input), "{}", found.text);
}

#[tokio::test]
async fn api_09_an_unknown_type_is_refused_with_near_ones() {
    let client = Stage::shared().await.newcomer();
    let answer = client
        .post(PATH, json!({"type": "llm.generat", "input": {}}))
        .await;
    answer.assert_problem(422, "unknown_task_type");
    assert!(answer.text.contains(TYPE), "{}", answer.text);
    assert_eq!(
        client.get(PATH).await.items(),
        [] as [Value; 0],
        "nothing was stored"
    );
}

#[tokio::test]
async fn api_09_the_task_types_are_those_of_the_workers() {
    let client = Stage::shared().await.newcomer();
    let list = client.get("/api/v1/tasks/types").await;
    let names: Vec<&str> = list
        .items()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["automation.plan", TYPE]);
    for kind in list.items() {
        assert_eq!(
            members(kind),
            [
                "attempt_timeout_seconds",
                "effect_mode",
                "max_attempts",
                "name"
            ]
        );
        assert_eq!(kind["effect_mode"], "idempotent");
        for number in ["attempt_timeout_seconds", "max_attempts"] {
            assert!(
                kind[number].as_u64().is_some_and(|number| number > 0),
                "{kind}"
            );
        }
    }
}

#[tokio::test]
async fn beh_04_no_task_is_skipped_or_doubled_while_others_are_submitted() {
    let client = Stage::shared().await.newcomer();
    let mut expected = Vec::new();
    for _ in 0..9 {
        expected.push(submit(&client).await);
    }
    expected.reverse();
    let (mut seen, mut path) = (Vec::new(), format!("{PATH}?limit=2&type={TYPE}"));
    loop {
        let page = client.get(&path).await;
        assert!(page.items().len() <= 2, "{}", page.text);
        seen.extend(ids(page.items()));
        submit(&client).await;
        let Some(link) = page.header("link") else {
            assert_eq!(page.json["next_cursor"], Value::Null);
            break;
        };
        // Followed as any client of RFC 8288 does.
        let target = link
            .strip_prefix('<')
            .and_then(|link| link.split_once(">; rel=\"next\""));
        path = target.expect("a link to the next page").0.to_owned();
        assert!(
            path.contains(&format!("limit=2&type={TYPE}&cursor=")),
            "{path}"
        );
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn api_09_the_list_shows_what_its_filters_say() {
    let client = Stage::shared().await.newcomer();
    let good = submit(&client).await;
    let bad = client.submit(TYPE, json!({"prompt": 7})).await;
    for id in [&good, &bad] {
        client.finished(id).await;
    }
    let newest_first = [bad.clone(), good.clone()];
    for (query, expected) in [
        ("", &newest_first[..]),
        ("state=succeeded", &newest_first[1..]),
        ("state=failed", &newest_first[..1]),
        ("state=failed&state=succeeded", &newest_first),
        ("state=queued&state=running", &[]),
        ("type=llm.generate", &newest_first),
        ("type=automation.plan", &[]),
        ("type=no.such.type", &[]),
    ] {
        let list = client.get(&format!("{PATH}?{query}")).await;
        assert_eq!(ids(list.items()), expected, "{query}: {}", list.text);
        for item in list.items() {
            assert!(
                item.get("input").is_none() && item.get("result").is_none(),
                "{item}"
            );
        }
    }
}

#[tokio::test]
async fn sec_05_a_tenant_sees_its_own_tasks_only() {
    let stage = Stage::shared().await;
    let owner = newcomer();
    let id = submit(&stage.client_of(&owner)).await;
    let stranger = Principal {
        subject: owner.subject.clone(),
        ..newcomer()
    };
    let stranger = stage.client_of(&stranger);
    assert_eq!(
        ids(stranger.get(PATH).await.items()),
        BTreeSet::<String>::new().into_iter().collect::<Vec<_>>()
    );
    for (method, path) in [
        (Method::GET, format!("{PATH}/{id}")),
        (Method::GET, format!("{PATH}/{id}/events")),
        (Method::POST, format!("{PATH}/{id}/cancel")),
    ] {
        let answer = stranger.send(stranger.request(method, &path)).await;
        answer.assert_problem(404, "task_not_found");
    }
    let colleague = Principal {
        tenant: owner.tenant.clone(),
        ..newcomer()
    };
    let found = stage
        .client_of(&colleague)
        .get(&format!("{PATH}/{id}"))
        .await;
    assert_eq!(
        (found.status.as_u16(), &found.json["subject"]),
        (200, &json!(owner.subject))
    );
}

#[tokio::test]
async fn tsk_13_events_are_a_stream_with_an_end() {
    let client = Stage::shared().await.newcomer();
    let id = submit(&client).await;
    client.finished(&id).await;
    let path = format!("{PATH}/{id}/events");
    let head = client
        .request(Method::GET, &path)
        .send()
        .await
        .expect("an answer");
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(head.headers()["x-accel-buffering"], "no");
    system_tests::assert_history(&client.history(&id).await);

    let resumed =
        |request: reqwest::RequestBuilder| async { client.events(request).await.rest().await };
    let by_header = client
        .request(Method::GET, &path)
        .header("last-event-id", "2");
    let by_query = client.request(Method::GET, &format!("{path}?last_event_id=2"));
    let (by_header, by_query) = (resumed(by_header).await, resumed(by_query).await);
    assert_eq!(by_header.events, by_query.events);
    assert_eq!(
        by_header
            .events
            .first()
            .and_then(|event| event.id.as_deref()),
        Some("3")
    );

    for wrong in ["x", "-1", "1.5"] {
        let request = client
            .request(Method::GET, &path)
            .header("last-event-id", wrong);
        client
            .send(request)
            .await
            .assert_problem(400, "validation_failed");
    }
    let unknown = client.get(&format!("{PATH}/{UNKNOWN}/events")).await;
    unknown.assert_problem(404, "task_not_found");
}
