//! The command itself.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value;
use sutazai_auth::keys::{Issuer, SigningKey, write_jwks};
use sutazai_gateway::kong::entity::Declaration;
use sutazai_mesh::catalog::ServiceName;
use sutazai_testkit::kong::FakeKong;

use crate::door::Door;

fn sutazai(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sutazai"))
        .args(["gateway"])
        .args(arguments)
        .current_dir(folder)
        .env_remove("JWKS_FILE")
        .env_remove("KONG_ADMIN_URL")
        .env_remove("CORS_ALLOWED_ORIGINS")
        .output()
        .unwrap()
}

/// Makes a state folder with a key for users' tokens and one of a service, and returns the first.
fn folder() -> (tempfile::TempDir, SigningKey) {
    let folder = tempfile::tempdir().unwrap();
    let (users, service) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let keys = [
        (Issuer::Platform, users.public().clone()),
        (
            Issuer::Service(ServiceName::Backend),
            service.public().clone(),
        ),
    ];
    std::fs::create_dir(folder.path().join(".run")).unwrap();
    write_jwks(&folder.path().join(".run/jwks.json"), &keys).unwrap();
    (folder, users)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn render_keys_writes_a_row_for_each_key_of_users() {
    let (folder, key) = folder();
    let output = sutazai(folder.path(), &["render", "--keys"]);
    assert!(output.status.success(), "{output:?}");
    let written = std::fs::read_to_string(folder.path().join(".run/kong.yml")).unwrap();
    let declaration = Declaration::from_yaml(&written).unwrap();
    let secrets = &declaration.consumers[0].jwt_secrets;
    assert_eq!(secrets.len(), 1, "the key of the service stays out");
    assert_eq!(secrets[0].key, key.public().kid());
    assert_eq!(secrets[0].rsa_public_key, key.public().to_pem());
    assert!(
        secrets[0]
            .rsa_public_key
            .starts_with("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA")
    );
}

#[test]
fn render_prints_the_committed_file() {
    let folder = tempfile::tempdir().unwrap();
    let output = sutazai(folder.path(), &["render"]);
    let committed = include_str!("../../../../kong/kong.yml");
    assert_eq!(text(&output.stdout), committed);
    let output = sutazai(folder.path(), &["render", "--origin", "*"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("`*` is refused"),
        "{output:?}"
    );
}

#[test]
fn render_keys_without_keys_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let output = sutazai(folder.path(), &["render", "--keys"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("has the platform run on this folder?"),
        "{output:?}"
    );
}

#[test]
fn check_says_what_is_wrong_for_people_and_for_machines() {
    let (folder, _) = folder();
    let output = sutazai(folder.path(), &["check"]);
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("of 160 MiB"), "{output:?}");

    let wrong = include_str!("../../../../kong/kong.yml")
        .replace("host: backend", "host: resource-manager");
    std::fs::write(folder.path().join("wrong.yml"), wrong).unwrap();
    let output = sutazai(folder.path(), &["check", "wrong.yml"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(
        said.contains("`resource-manager` is no service of the platform"),
        "{said}"
    );

    let output = sutazai(folder.path(), &["--json", "check", "wrong.yml"]);
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["faults"][0]["fault"], "dead_host");
    assert_eq!(document["memory_limit_mebibytes"], 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn apply_then_diff_then_a_change_is_found() {
    let (folder, _) = folder();
    let kong = FakeKong::start().await;
    let door = Door::open(200).await;
    let (url, probe) = (kong.url(), door.url());
    let output = sutazai(
        folder.path(),
        &["apply", "--admin", &url, "--probe", &probe],
    );
    assert!(output.status.success(), "{output:?}");
    assert_eq!(kong.loads(), 1);
    let output = sutazai(folder.path(), &["diff", "--admin", &url]);
    assert!(output.status.success(), "{output:?}");

    kong.meddle("services", "backend", "retries", serde_json::json!(0));
    let output = sutazai(folder.path(), &["diff", "--admin", &url]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains("services backend: retries is 0"), "{said}");
}

#[test]
fn a_kong_that_is_away_is_said_so() {
    let (folder, _) = folder();
    let output = sutazai(folder.path(), &["diff", "--admin", "http://127.0.0.1:9"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).contains("no Kong answers at"),
        "{output:?}"
    );
}
