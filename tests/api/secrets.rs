//! No answer holds a secret, not even one that is sent.

mod configuration;

use std::{fs, path::Path};

use serde_json::json;
use sutazai_cli::configuration::SERVICES;
use system_tests::{Answer, Client, Stage, eventually};

use crate::document::Document;

/// Returns what each secret file under a platform's folder holds, by its path.
fn canaries(stage: &Stage) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut files = vec![stage.description().api_key_file.clone()];
    for folder in ["secrets", "keys"] {
        let entries = fs::read_dir(stage.data().join(folder)).expect("a folder");
        files.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    for file in files {
        for line in secrets_in(&file) {
            found.push((file.display().to_string(), line));
        }
    }
    assert!(found.len() > 10, "{}", found.len());
    found
}

/// Returns the lines of a file that tell something: of a PEM file what is between the marks.
fn secrets_in(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).expect("a secret file");
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with("-----") && line.len() >= 16)
        .map(str::to_owned)
        .collect()
}

fn assert_silent(answers: &[(String, Answer)], canaries: &[(String, String)]) {
    for (what, answer) in answers {
        let said = format!("{:?}\n{}", answer.headers, answer.text);
        for (file, secret) in canaries {
            assert!(
                !said.contains(secret.as_str()),
                "{what} tells what {file} holds"
            );
        }
    }
}

/// Gets every address of the document and beside it.
async fn everything(stage: &Stage, client: &Client) -> Vec<(String, Answer)> {
    let document = Document::of(client).await;
    let mut answers = Vec::new();
    for operation in document.operations() {
        let path = operation.address();
        let request = client.request(operation.method(), &path);
        answers.push((
            format!("{} {path}", operation.id()),
            client.send(request).await,
        ));
    }
    for path in [
        "/openapi.json",
        "/docs/",
        "/docs/errors",
        "/redoc",
        "/nothing",
    ] {
        answers.push((path.to_owned(), client.get(path).await));
    }
    for service in SERVICES {
        let client = stage.http(service);
        for path in ["/health", "/livez", "/readyz", "/metrics", "/nothing"] {
            answers.push((format!("{service} {path}"), client.get(path).await));
        }
    }
    answers
}

/// Sends secrets where they do not belong, as a client does that mixes things up.
async fn misplaced(stage: &Stage, canaries: &[(String, String)]) -> Vec<(String, Answer)> {
    let client = stage.admin();
    let mut answers = Vec::new();
    for (file, secret) in canaries {
        for (path, body) in [
            (
                "/api/v1/auth/login",
                json!({"username": "admin", "password": format!("{secret}x")}),
            ),
            ("/api/v1/auth/login", json!({"password": {"value": secret}})),
            ("/api/v1/auth/login", json!({"password": secret, "totp": 1})),
        ] {
            answers.push((format!("{path} with {file}"), client.post(path, body).await));
        }
        let stranger = client.with_credential(Some(&format!("{secret}x")));
        let answer = stranger.get("/api/v1/system/status").await;
        answers.push((format!("a bearer of {file}"), answer));
    }
    answers
}

#[test]
fn a_planted_secret_is_found() {
    let caught = std::panic::catch_unwind(|| {
        let answer = Answer {
            status: reqwest::StatusCode::OK,
            headers: reqwest::header::HeaderMap::new(),
            json: json!(null),
            text: "the password is hunter2hunter2".to_owned(),
        };
        let canary = ("file".to_owned(), "hunter2hunter2".to_owned());
        assert_silent(&[("planted".to_owned(), answer)], &[canary]);
    });
    assert!(caught.is_err());
}

#[tokio::test]
async fn cfg_09_no_answer_tells_a_secret() {
    let stage = Stage::start().await;
    let canaries = canaries(&stage);
    let status = stage.admin().get("/api/v1/system/status").await;
    assert_eq!(status.status, 200, "the status is among the answers");
    assert_silent(&everything(&stage, &stage.admin()).await, &canaries);
    assert_silent(&everything(&stage, &stage.stranger()).await, &canaries);
    assert_silent(&misplaced(&stage, &canaries).await, &canaries);

    // A lost database is when addresses with passwords in them like to show up.
    stage.kill_postgres().await;
    eventually("a platform that has noticed", async || {
        (stage.stranger().get("/health").await.status == 503).then_some(())
    })
    .await;
    assert_silent(&everything(&stage, &stage.admin()).await, &canaries);
}

#[tokio::test]
async fn cfg_09_the_description_of_a_platform_tells_no_secret() {
    let stage = Stage::shared().await;
    let published = fs::read_to_string(stage.data().join("dev.json")).expect("dev.json");
    for (file, secret) in canaries(stage) {
        assert!(
            !published.contains(&secret),
            "dev.json tells what {file} holds"
        );
    }
    let report = serde_json::to_string(&stage.doctor().await).expect("JSON");
    for (file, secret) in canaries(stage) {
        assert!(
            !report.contains(&secret),
            "the doctor tells what {file} holds"
        );
    }
}
