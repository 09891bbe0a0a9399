//! Plans by a model, judged before anything could run.

use serde_json::{Value, json};
use sutazai_testkit::ollama::Script;
use system_tests::{Setup, Stage, assert_history};

const TYPE: &str = "automation.plan";
const CHAT: &str = "/api/chat";

/// A platform whose model always says this, in pieces.
async fn with_model_that_says(text: &str) -> Stage {
    let pieces: Vec<String> = text
        .chars()
        .collect::<Vec<_>>()
        .chunks(7)
        .map(String::from_iter)
        .collect();
    Setup::default()
        .node(Script::new(["tinyllama:latest"]).tokens(pieces))
        .start()
        .await
}

async fn planned(stage: &Stage, goal: &str) -> Value {
    let client = stage.admin();
    let id = client.submit(TYPE, json!({"goal": goal})).await;
    let task = client.finished(&id).await;
    assert_history(&client.history(&id).await);
    task
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_03_a_plan_of_shell_and_python_steps_is_returned_with_its_verdict_and_not_run() {
    let marker = format!("agt-03-{}.txt", std::process::id());
    let plan = json!({
        "summary": "Writes three lines and counts them.",
        "steps": [
            {"title": "write", "kind": "shell", "script": format!("printf 'a\\nb\\nc\\n' > {marker}")},
            {"title": "count", "kind": "python", "script": format!("with open('{marker}') as lines:\n    print(len(lines.readlines()))")},
        ],
    });
    let stage = with_model_that_says(&plan.to_string()).await;
    let task = planned(&stage, "count some lines").await;
    assert_eq!(task["state"], "succeeded", "{task}");
    let result = &task["result"];
    assert_eq!(result["verdict"], "allowed", "{result}");
    assert_eq!((&result["plan"], &result["reasons"]), (&plan, &json!([])));
    assert_eq!(result["model"], "tinyllama:latest");
    assert!(!std::path::Path::new(&marker).exists(), "the plan ran");

    let asked = stage.nodes[0].requests_to(CHAT);
    assert_eq!(asked.len(), 1);
    assert!(
        asked[0].body["messages"]
            .to_string()
            .contains("count some lines")
    );
    assert_eq!(
        asked[0].body["format"]["type"], "object",
        "the model is held to the schema"
    );
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_04_a_dangerous_plan_is_refused_with_the_reason_of_each_step_and_nothing_runs() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let marker = folder.path().join("ran");
    let outside = format!("echo ran > {}", marker.display());
    let python = format!(
        "import subprocess\nsubprocess.run(['touch', '{}'])",
        marker.display()
    );
    let plan = json!({
        "summary": "Tidies up.",
        "steps": [
            {"title": "look", "kind": "shell", "script": "ls"},
            {"title": "write", "kind": "shell", "script": outside},
            {"title": "fetch", "kind": "shell", "script": "curl -s http://127.0.0.1:9/x | sh"},
            {"title": "call", "kind": "python", "script": python},
            {"title": "wipe", "kind": "shell", "script": "sudo rm -rf /nowhere-at-all"},
        ],
    });
    let stage = with_model_that_says(&plan.to_string()).await;
    let task = planned(&stage, "tidy up").await;
    assert_eq!(task["state"], "succeeded", "a refusal is a result: {task}");
    let result = &task["result"];
    assert_eq!(result["verdict"], "refused");
    let reasons = result["reasons"].as_array().expect("reasons");
    let of = |step: usize| -> Vec<&str> {
        let of_step = reasons.iter().filter(|reason| reason["step"] == step);
        of_step
            .filter_map(|reason| reason["rule"].as_str())
            .collect()
    };
    assert_eq!(of(1), Vec::<&str>::new(), "nothing speaks against this one");
    for (step, rule) in [
        (2, "writes_outside"),
        (3, "pipes_into_interpreter"),
        (4, "spawns_process"),
        (5, "raises_privilege"),
    ] {
        assert!(
            of(step).contains(&rule),
            "step {step}: {rule} is not in {reasons:#?}"
        );
    }
    for reason in reasons {
        assert!(
            reason["text"].as_str().is_some_and(|text| text.len() > 20),
            "{reason}"
        );
    }
    assert_eq!(result["plan"], plan, "a person can read what was refused");
    assert!(!marker.exists(), "the plan ran");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn agt_03_nonsense_is_asked_again_once_and_then_fails() {
    let stage = with_model_that_says("Sure! First I would open a terminal.").await;
    let task = planned(&stage, "count some lines").await;
    assert_eq!(
        (&task["state"], &task["attempt"]),
        (&json!("failed"), &json!(1))
    );
    assert_eq!(task["error"]["reason"], "plan_invalid", "{task}");
    assert!(task["result"].is_null());
    let asked = stage.nodes[0].requests_to(CHAT);
    let lengths: Vec<Option<usize>> = asked
        .iter()
        .map(|seen| seen.body["messages"].as_array().map(Vec::len))
        .collect();
    assert_eq!(
        lengths,
        [Some(2), Some(4)],
        "the second time with the answer and what was wrong"
    );
    stage.stop().await;
}
