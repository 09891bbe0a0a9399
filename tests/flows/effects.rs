//! What a lost worker means for its task: once at most, or again until it is done.
//!
//! Beside the platform runs an agent of the test's own, on the same broker and registry.

mod puppet;

use std::time::Duration;

use serde_json::json;
use system_tests::{assert_history, eventually, kinds};

use puppet::{AGAIN, Conduct, ONCE, Scene, Told};

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_at_most_once_a_task_of_a_dead_worker_is_interrupted_and_never_launched_again() {
    let scene = Scene::start().await;
    let client = scene.stage.admin();
    let mortal = scene.worker("mortal", Conduct::Hang).await;
    let id = client.submit(ONCE, json!({})).await;
    scene.running(&id, 1).await;
    mortal.kill().await;
    let heir = scene.worker("heir", Conduct::Answer).await;

    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("interrupted"), &json!(1))
    );
    assert_eq!(task["error"]["reason"], "worker_lost");
    let history = client.history(&id).await;
    assert_history(&history);
    assert_eq!(
        kinds(&history),
        ["created", "released", "started", "interrupted"]
    );

    // The heir is at work, but not on that one.
    let later = client.submit(ONCE, json!({})).await;
    assert_eq!(client.finished(&later).await["state"], "succeeded");
    assert_eq!(scene.launches_of(&id), ["mortal"]);
    assert_eq!(scene.launches_of(&later), ["heir"]);
    heir.stop().await;
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_an_idempotent_task_of_a_dead_worker_is_begun_again_by_another_one() {
    let scene = Scene::start().await;
    let client = scene.stage.admin();
    let mortal = scene.worker("mortal", Conduct::Hang).await;
    let id = client.submit(AGAIN, json!({})).await;
    scene.running(&id, 1).await;
    mortal.kill().await;
    let heir = scene.worker("heir", Conduct::Answer).await;

    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("succeeded"), &json!(2))
    );
    assert_eq!(task["result"]["by"], "heir");
    let history = client.history(&id).await;
    assert_history(&history);
    let expected = [
        "created",
        "released",
        "started",
        "attempt_failed",
        "released",
        "started",
        "succeeded",
    ];
    assert_eq!(kinds(&history), expected);
    assert_eq!(history[3].json()["error"]["reason"], "worker_lost");
    assert_eq!(scene.launches_of(&id), ["mortal", "heir"]);
    heir.stop().await;
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_a_worker_that_comes_back_after_its_lease_is_fenced_off() {
    let scene = Scene::start().await;
    let client = scene.stage.admin();
    let (late_word, new_word) = (Told::default(), Told::default());
    let mut late = scene.worker("late", Conduct::When(late_word.clone())).await;
    let id = client.submit(AGAIN, json!({})).await;
    scene.running(&id, 1).await;
    // It takes no further task, so that the retry is not for it. Then it is cut off from the
    // coordinator and works on while its lease ends and another one takes over.
    late.retire();
    late.cut_off().await;
    let heir = scene.worker("heir", Conduct::When(new_word.clone())).await;
    scene.running(&id, 2).await;
    // Now it is done, and sends its result while the other one still works.
    late_word.say();
    late.stop().await;
    eventually("the late result at the coordinator", async || {
        let sql = "select message_id from tasks.inbox
                   where message_id = 'finished:' || $1::uuid::text || ':1'";
        (!scene.stage.query(sql, &id).await.is_empty()).then_some(())
    })
    .await;
    let task = client.get(&format!("/api/v1/tasks/{id}")).await.json;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("running"), &json!(2)),
        "{task}"
    );

    new_word.say();
    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["result"]["by"]),
        (&json!("succeeded"), &json!("heir"))
    );
    assert_history(&client.history(&id).await);
    assert_eq!(scene.launches_of(&id), ["late", "heir"]);
    heir.stop().await;
    scene.stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsk_06_a_lease_lives_as_long_as_its_worker_does() {
    let scene = Scene::start().await;
    let client = scene.stage.admin();
    let word = Told::default();
    let patient = scene.worker("patient", Conduct::When(word.clone())).await;
    let id = client.submit(ONCE, json!({})).await;
    scene.running(&id, 1).await;
    // Several leases long, and beyond the reaper's first round.
    tokio::time::sleep(Duration::from_secs(8)).await;
    word.say();
    let task = client.finished(&id).await;
    assert_eq!(
        (&task["state"], &task["result"]["by"]),
        (&json!("succeeded"), &json!("patient"))
    );
    assert_eq!(scene.launches_of(&id), ["patient"]);
    patient.stop().await;
    scene.stage.stop().await;
}
