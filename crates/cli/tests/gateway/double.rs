//! The suite over the double, and what only a double can be made to do.

use serde_json::json;
use sutazai_cli::gateway::{
    admin::Error,
    apply::{self, Outcome, apply},
};
use sutazai_gateway::drift::compare;
use sutazai_resilience::breaker::CallError;
use sutazai_testkit::kong::FakeKong;

use crate::{admin, door::Door, full, suite};

#[tokio::test]
async fn kng_11_the_double_keeps_to_the_suite() {
    let kong = FakeKong::start().await;
    suite::run(&kong.url()).await;
}

#[tokio::test]
async fn kng_11_what_another_administrator_changed_is_found() {
    let kong = FakeKong::start().await;
    let admin = admin(&kong.url());
    let declaration = full();
    admin.load(&declaration.to_yaml().unwrap()).await.unwrap();
    assert!(kong.meddle("services", "backend", "read_timeout", json!(1)));
    assert!(kong.meddle("routes", "tasks", "methods", json!(["GET"])));
    let loaded = admin.loaded().await.unwrap().document().unwrap();
    let written = serde_json::to_value(&declaration).unwrap();
    let found = compare(&written, &loaded).unwrap();
    let fields: Vec<_> = found
        .iter()
        .map(|one| {
            (
                one.entity.as_str(),
                one.field.as_deref().unwrap_or_default(),
            )
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("routes tasks", "methods"),
            ("services backend", "read_timeout")
        ]
    );
}

#[tokio::test]
async fn kng_12_a_configuration_that_holds_stays() {
    let kong = FakeKong::start().await;
    let door = Door::open(200).await;
    let (admin, text) = (admin(&kong.url()), full().to_yaml().unwrap());
    let probes = [door.url()];
    assert_eq!(
        apply(&admin, &text, &probes).await.unwrap(),
        Outcome::Loaded
    );
    assert_eq!(
        apply(&admin, &text, &probes).await.unwrap(),
        Outcome::Unchanged
    );
    assert_eq!(kong.loads(), 1);
}

#[tokio::test]
async fn kng_12_a_configuration_that_does_not_hold_is_taken_back() {
    let kong = FakeKong::start().await;
    let door = Door::open(200).await;
    let admin = admin(&kong.url());
    let good = full();
    apply(&admin, &good.to_yaml().unwrap(), &[door.url()])
        .await
        .unwrap();

    door.answer_with(503);
    let mut bad = full();
    bad.services.pop();
    let outcome = apply(&admin, &bad.to_yaml().unwrap(), &[door.url()]).await;
    assert!(
        matches!(outcome, Err(apply::Error::RolledBack { .. })),
        "{outcome:?}"
    );
    assert_eq!(kong.loads(), 3, "good, bad, good again");
    let loaded = admin.loaded().await.unwrap().document().unwrap();
    let written = serde_json::to_value(&good).unwrap();
    assert_eq!(compare(&written, &loaded).unwrap(), []);
}

#[tokio::test]
async fn a_refused_configuration_changes_nothing_and_says_why() {
    let kong = FakeKong::start().await;
    let admin = admin(&kong.url());
    let mut wrong = full();
    wrong.services[0].protocol = "gopher".to_owned();
    let outcome = apply(&admin, &wrong.to_yaml().unwrap(), &[]).await;
    match outcome {
        Err(apply::Error::Load(Error::Refused { fields, .. })) => {
            let why = fields["services"][0]["protocol"].as_str().unwrap();
            assert!(why.starts_with("expected one of: "), "{why}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(kong.loads(), 0);
}

#[tokio::test]
async fn strangers_and_nobody_are_told_apart() {
    let kong = FakeKong::start().await;
    kong.fail_with(Some(500));
    let strange = admin(&kong.url()).loaded().await;
    assert!(matches!(strange, Err(Error::Strange { .. })), "{strange:?}");
    kong.fail_with(None);
    admin(&kong.url()).loaded().await.unwrap();
}

#[tokio::test]
async fn cb_02_an_admin_api_that_is_away_opens_its_breaker() {
    let kong = FakeKong::start().await;
    let url = kong.url();
    drop(kong);
    let admin = admin(&url);
    let mut open = false;
    for _ in 0..10 {
        match admin.loaded().await {
            Err(Error::Unreachable { source, .. }) => open |= matches!(source, CallError::Open(_)),
            other => panic!("{other:?}"),
        }
    }
    assert!(open, "ten failures in a row, and still every call is made");
}
