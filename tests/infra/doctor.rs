//! The doctor over the real parts: green after traffic, and one broken part is one red row.

use serde_json::json;
use sutazai_cli::{
    configuration::SERVICES,
    doctor::{self, Report, Row, State, kong::Kong},
};
use sutazai_testkit::kong::FakeKong;
use system_tests::{Client, Still};

use crate::platform::{Platform, Turn, shared, within};

/// Chats and tasks of each kind: enough for every instance to get some.
const WORK: usize = 16;

async fn examine(platform: &Platform) -> Report {
    examine_with(platform, &Kong::default()).await
}

async fn examine_with(platform: &Platform, kong: &Kong) -> Report {
    let report = doctor::examine(&platform.description(), kong).await;
    report.expect("the operator's key")
}

fn row<'a>(report: &'a Report, part: &str) -> &'a Row {
    let found = report.rows.iter().find(|row| row.part == part);
    found.expect(part)
}

fn red(report: &Report) -> Vec<&str> {
    let red = report.rows.iter().filter(|row| row.state == State::Broken);
    red.map(|row| row.part.as_str()).collect()
}

/// Uses every part, so that none is unused.
async fn traffic(platform: &Platform) {
    let client = platform.admin();
    let chats = (0..WORK).map(|_| client.chat("hello"));
    for chat in futures::future::join_all(chats).await {
        assert_eq!(chat.status, 200, "{}", chat.text);
    }
    let plans =
        (0..WORK).map(|i| client.submit("automation.plan", json!({"goal": format!("{i}")})));
    let tasks = (0..WORK).map(|i| client.submit("llm.generate", json!({"prompt": format!("{i}")})));
    let (mut ids, plans) = tokio::join!(
        futures::future::join_all(tasks),
        futures::future::join_all(plans)
    );
    ids.extend(plans);
    for id in ids {
        client.finished(&id).await;
    }
    // The second instance of the backend is nobody's door.
    for at in &platform.description().replicas["backend"] {
        let door = Client::new(
            &format!("http://{}", at.http),
            client.credential().map(str::to_owned),
        );
        let models = door.get("/api/v1/models").await;
        assert_eq!(models.status, 200, "{}", models.text);
    }
}

/// Lets a process stand still, and expects one red row. Once it goes on, the report is green again, and
/// what was not answered is in the counters of those who asked. Returns what was seen meanwhile.
async fn breaks(platform: &Turn, part: &str) -> Report {
    let errors = |report: &Report| row(report, part).counters["errors"];
    let before = examine(platform).await;
    assert!(before.is_well(), "{before:#?}");
    let still = Still::stop(platform.process(part).pid);
    let meanwhile = examine(platform).await;
    drop(still);
    assert_eq!(red(&meanwhile), [part], "{meanwhile:#?}");
    let after = recovers(platform).await;
    assert!(errors(&after) > errors(&before), "{before:#?} {after:#?}");
    meanwhile
}

async fn recovers(platform: &Turn) -> Report {
    platform.whole().await;
    within("the doctor finds everything at work again", async || {
        let report = examine(platform).await;
        report.is_well().then_some(report)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn net_03_after_traffic_every_part_is_green_with_its_counters() {
    let platform = shared().await;
    traffic(&platform).await;
    // A look counts the echoes of those before it.
    examine(&platform).await;
    let report = examine(&platform).await;
    assert!(report.is_well(), "{report:#?}");
    let unused = report.rows.iter().filter(|row| row.state == State::Unused);
    assert_eq!(unused.count(), 0, "{report:#?}");

    for (part, counters) in [
        ("postgres", &["queries"][..]),
        ("rabbitmq", &["confirmed", "consumed", "echoes"]),
        ("consul", &["requests", "calls"]),
        ("redis", &["operations", "level_two_misses"]),
        ("node", &["attempts"]),
        ("breakers", &["successes"]),
    ] {
        let row = row(&report, part);
        for counter in counters {
            assert!(row.counters[*counter] > 0, "{counter} of {row:?}");
        }
    }
    for (part, said) in [
        (
            "rabbitmq",
            "echoes of 3 services were consumed by task-coordinator",
        ),
        ("consul", "the index went from"),
        ("redis", "level two hit"),
        (
            "trace",
            "backend (http), task-coordinator (grpc), agent-orchestrator (message.handle), \
             ollama-proxy (grpc), task-coordinator (message.handle)",
        ),
    ] {
        let row = row(&report, part);
        assert!(row.evidence.contains(said), "{row:?}");
    }
    // Each instance has a row of its own.
    for service in SERVICES {
        for at in &platform.description().replicas[service.as_str()] {
            row(&report, &format!("{service}@{}", at.grpc));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn net_03_a_rabbitmq_that_keeps_silent_turns_its_row_red_and_is_counted() {
    breaks(&shared().await, "rabbitmq").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_03_a_consul_that_keeps_silent_turns_its_row_red_and_is_counted() {
    breaks(&shared().await, "consul").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn net_03_without_redis_its_row_alone_is_red_and_tasks_go_on() {
    let report = breaks(&shared().await, "redis").await;
    let cause = row(&report, "redis").cause.as_ref().expect("a cause");
    assert!(cause.contains("degraded"), "{cause}");
    assert_eq!(row(&report, "task").state, State::Well, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_05_an_instance_that_keeps_silent_turns_its_own_row_red() {
    let platform = shared().await;
    let still = Still::stop(platform.process("backend-2").pid);
    let report = examine(&platform).await;
    drop(still);
    let red = red(&report);
    assert_eq!(red.len(), 1, "{report:#?}");
    assert!(red[0].starts_with("backend@127.0.0.1:"), "{red:?}");
    let others = row(&report, "backend");
    assert_eq!(others.evidence, "1 of 2 instances answer", "{others:?}");
    assert_eq!(row(&report, "task").state, State::Well, "{report:#?}");
    recovers(&platform).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cb_02_a_breaker_that_is_held_open_is_a_red_row_with_its_name() {
    let platform = shared().await;
    let client = platform.admin();
    let instance = within("the breaker", async || {
        let status = client.get("/api/v1/circuit-breaker/status").await;
        let mut breakers = status.json["breakers"].as_array()?.iter();
        let one =
            breakers.find(|one| one["name"] == "rabbitmq" && one["service"] == "automation-agent");
        Some(one?["instance"].as_str()?.to_owned())
    })
    .await;
    let path = |what: &str| format!("/api/v1/circuit-breaker/rabbitmq/{what}?instance={instance}");
    let held = client.post(&path("force-open"), json!({})).await;
    assert_eq!(held.status, 200, "{}", held.text);
    let report = examine(&platform).await;
    let reset = client.post(&path("reset"), json!({})).await;
    assert_eq!(reset.status, 200, "{}", reset.text);

    let red = red(&report);
    assert_eq!(red.len(), 1, "{report:#?}");
    assert!(
        red[0].starts_with("breaker rabbitmq of automation-agent@"),
        "{red:?}"
    );
    let cause = row(&report, red[0]).cause.as_ref().expect("a cause");
    assert!(
        cause.starts_with("held open by ") && cause.contains(" since 20"),
        "{cause}"
    );
    recovers(&platform).await;
}

/// The double of Kong's admin interface serves no traffic: the backend's own door stands for its routes.
#[tokio::test(flavor = "multi_thread")]
async fn kng_02_a_route_answers_through_kong_or_its_row_alone_is_red() {
    let platform = shared().await;
    assert_eq!(row(&examine(&platform).await, "kong").state, State::NotRun);

    let double = FakeKong::start().await;
    let configuration = include_str!("../../kong/kong.yml");
    let loaded = Client::new(&double.url(), None)
        .post("/config", json!({ "config": configuration }))
        .await;
    assert_eq!(loaded.status, 201, "{}", loaded.text);
    let kong = Kong {
        admin: Some(double.url()),
        proxy: Some(platform.description().api),
    };
    let report = examine_with(&platform, &kong).await;
    assert_eq!(row(&report, "kong").state, State::Well, "{report:#?}");

    let no_route = Kong {
        proxy: Some("http://127.0.0.1:1".to_owned()),
        ..kong.clone()
    };
    let report = examine_with(&platform, &no_route).await;
    assert_eq!(red(&report), ["kong"], "{report:#?}");
    double.fail_with(Some(500));
    let report = examine_with(&platform, &kong).await;
    assert_eq!(red(&report), ["kong"], "{report:#?}");
}
