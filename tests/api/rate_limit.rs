//! How often a principal may ask.

use system_tests::Setup;

#[tokio::test]
async fn sec_08_who_asks_too_often_is_told_when_to_come_back_and_disturbs_nobody() {
    // A tenth of it may come at once.
    let setup = Setup::default().setting("RATE_LIMIT_CHAT_PER_MINUTE", "20");
    let stage = setup.start().await;
    let (eager, calm) = (stage.newcomer(), stage.newcomer());
    for left in [1, 0] {
        let answer = eager.chat("hello").await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert_eq!(
            answer.header("ratelimit-policy"),
            Some("\"chat\";q=20;w=60")
        );
        let quota = answer.header("ratelimit").unwrap_or_default();
        assert!(
            quota.starts_with(&format!("\"chat\";r={left};t=")),
            "{quota}"
        );
    }
    let refused = eager.chat("hello").await;
    refused.assert_problem(429, "rate_limited");
    let wait = refused.retry_after().expect("when to come back");
    assert!((1..=3).contains(&wait), "{wait}");
    let quota = refused.header("ratelimit").unwrap_or_default();
    assert_eq!(quota, format!("\"chat\";r=0;t={wait}"));

    // Another principal, and another class of the same one.
    assert_eq!(calm.chat("hello").await.status, 200);
    let models = eager.get("/api/v1/models").await;
    assert_eq!(models.status, 200);
    let policy = models.header("ratelimit-policy").unwrap_or_default();
    assert!(policy.starts_with("\"read\";"), "{policy}");

    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    assert_eq!(eager.chat("hello").await.status, 200);
    stage.stop().await;
}

#[tokio::test]
async fn sec_08_what_needs_no_credential_has_no_quota() {
    let stage = system_tests::Stage::shared().await;
    let answer = stage.stranger().get("/health").await;
    assert_eq!(answer.header("ratelimit"), None);
    let answer = stage.stranger().get("/api/v1/models").await;
    answer.assert_problem(401, "missing_credential");
    assert_eq!(answer.header("ratelimit"), None);
}
