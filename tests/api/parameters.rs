//! Ids in paths and parameters of queries.

use system_tests::{Client, Stage};

use crate::{UNKNOWN, document::Document};

/// The lists that come in pages.
const LISTS: [&str; 3] = [
    "/api/v1/tasks",
    "/api/v1/tasks/dead-letters",
    "/api/v1/chat/conversations",
];

/// Those of them that show a tenant its own things.
const OF_TENANTS: [&str; 2] = ["/api/v1/tasks", "/api/v1/chat/conversations"];

async fn assert_parameter(client: &Client, path: &str, code: &str, name: &str) {
    let answer = client.get(path).await;
    answer.assert_problem(400, code);
    assert_eq!(
        answer.json["errors"][0]["pointer"], name,
        "{path}: {}",
        answer.text
    );
}

#[tokio::test]
async fn sec_10_an_id_that_nothing_can_have_is_refused() {
    let admin = Stage::shared().await.admin();
    let document = Document::of(&admin).await;
    let long = "a".repeat(2000);
    let mut tried = 0;
    for operation in document.operations() {
        if !operation.path.contains("{id}") {
            continue;
        }
        tried += 1;
        let mut wrong = vec![
            "%ff",
            "%00",
            "..%2f",
            "' or 1=1 --",
            "a%20b",
            "%C3%A4",
            &long,
        ];
        // Names of agents, of breakers and of cached entries are words.
        if !["/agents/", "/circuit-breaker/", "/cache/"]
            .iter()
            .any(|family| operation.path.contains(family))
        {
            wrong.extend([
                "7",
                "none",
                &UNKNOWN[1..],
                "0198c0de-0000-7000-8000-00000000000g",
            ]);
        }
        for id in wrong {
            let request = admin.request(operation.method(), &operation.path.replace("{id}", id));
            let answer = admin.send(request).await;
            answer.assert_problem(400, "invalid_id");
            assert_eq!(answer.json["errors"][0]["pointer"], "id", "{}", answer.text);
        }
    }
    assert_eq!(tried, 17);
}

#[tokio::test]
async fn sec_10_an_id_of_nothing_is_not_found() {
    let admin = Stage::shared().await.admin();
    let document = Document::of(&admin).await;
    for operation in document
        .operations()
        .iter()
        .filter(|one| one.path.contains("{id}"))
    {
        let request = admin.request(operation.method(), &operation.address());
        let answer = admin.send(request).await;
        let code = answer.json["code"].as_str().unwrap_or_default().to_owned();
        assert!(
            code.ends_with("_not_found") && code != "route_not_found",
            "{}",
            answer.text
        );
        answer.assert_problem(404, &code);
    }
}

#[tokio::test]
async fn beh_04_limits_have_bounds() {
    let admin = Stage::shared().await.admin();
    for list in LISTS {
        for good in ["1", "100"] {
            let answer = admin.get(&format!("{list}?limit={good}")).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        for wrong in [
            "0",
            "101",
            "-1",
            "abc",
            "",
            "1.5",
            "99999999999999999999",
            "%00",
        ] {
            assert_parameter(
                &admin,
                &format!("{list}?limit={wrong}"),
                "validation_failed",
                "limit",
            )
            .await;
        }
        assert_parameter(
            &admin,
            &format!("{list}?limit=5&limit=6"),
            "validation_failed",
            "limit",
        )
        .await;
    }
}

#[tokio::test]
async fn beh_04_a_cursor_that_was_not_given_out_here_is_refused() {
    let stage = Stage::shared().await;
    let (client, other) = (stage.newcomer(), stage.newcomer());
    for client in [&client, &other] {
        for text in ["one", "two"] {
            assert_eq!(client.chat(text).await.status, 200);
            client
                .submit("llm.generate", serde_json::json!({"prompt": text}))
                .await;
        }
    }
    let mut cursors = Vec::new();
    for list in OF_TENANTS {
        let page = client.get(&format!("{list}?limit=1")).await;
        cursors.push(
            page.json["next_cursor"]
                .as_str()
                .expect("a cursor")
                .to_owned(),
        );
    }
    for (own, list) in OF_TENANTS.into_iter().enumerate() {
        for wrong in [
            "",
            "7",
            "AAAA",
            "%ff",
            &"A".repeat(2000),
            &cursors[1 - own],
            &cursors[own][1..],
        ] {
            assert_parameter(
                &client,
                &format!("{list}?cursor={wrong}"),
                "invalid_cursor",
                "cursor",
            )
            .await;
        }
        let good = format!("{list}?cursor={}", cursors[own]);
        assert_eq!(client.get(&good).await.items().len(), 1);
        other.get(&good).await.assert_problem(400, "invalid_cursor");
    }
    let filtered = format!("/api/v1/tasks?type=llm.generate&cursor={}", cursors[0]);
    assert_parameter(&client, &filtered, "invalid_cursor", "cursor").await;
}

#[tokio::test]
async fn sec_10_an_unknown_parameter_is_refused_by_name() {
    let admin = Stage::shared().await.admin();
    for list in LISTS {
        for name in ["sort", "Limit", "offset", "q"] {
            assert_parameter(&admin, &format!("{list}?{name}=1"), "unknown_field", name).await;
        }
    }
    assert_parameter(
        &admin,
        "/api/v1/tasks?state=lost",
        "validation_failed",
        "state",
    )
    .await;
    assert_parameter(
        &admin,
        "/api/v1/tasks?type=a%20b",
        "validation_failed",
        "type",
    )
    .await;
}

#[tokio::test]
async fn sec_10_no_operation_ignores_a_parameter_that_it_does_not_know() {
    let admin = Stage::shared().await.admin();
    let document = Document::of(&admin).await;
    for operation in document.operations() {
        // Probes of all kinds ask for health, some with a parameter against caches.
        if operation.path.ends_with("health") {
            continue;
        }
        let path = format!("{}?no_such_parameter=1", operation.address());
        let answer = admin.send(admin.request(operation.method(), &path)).await;
        answer.assert_problem(400, "unknown_field");
        assert_eq!(
            answer.json["errors"][0]["pointer"], "no_such_parameter",
            "{path}"
        );
    }
}
