//! The program with settings missing or wrong.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    process::{Command, Output},
    time::{Duration, Instant},
};

/// Runs the program with these variables and no other.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sutazai"));
    command
        .args(arguments)
        .env_clear()
        .envs(variables.iter().copied());
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn cfg_01_without_settings_every_service_names_all_that_is_missing() {
    for (service, missing) in [
        (
            "backend",
            &[
                "DATABASE_URL",
                "SERVICE_KEY_FILE",
                "JWKS_FILE",
                "SECRET_KEY",
                "ADMIN_PASSWORD",
            ][..],
        ),
        (
            "task-coordinator",
            &["DATABASE_URL", "SERVICE_KEY_FILE", "JWKS_FILE"],
        ),
        (
            "agent-orchestrator",
            &["DATABASE_URL", "SERVICE_KEY_FILE", "JWKS_FILE"],
        ),
        ("ollama-proxy", &["SERVICE_KEY_FILE", "JWKS_FILE"]),
        (
            "automation-agent",
            &["SERVICE_KEY_FILE", "JWKS_FILE", "AMQP_URL"],
        ),
    ] {
        for command in ["config", "serve"] {
            let begun = Instant::now();
            let output = run(&[command, service], &[]);
            assert!(
                begun.elapsed() < Duration::from_secs(2),
                "{service} thought for too long"
            );
            assert_eq!(output.status.code(), Some(78), "{service}");
            let faults = text(&output.stderr);
            for name in missing {
                assert!(
                    faults.contains(name),
                    "{service} does not name {name}: {faults}"
                );
            }
            assert!(
                faults.contains("where:"),
                "{service} does not say where to set them: {faults}"
            );
            assert!(
                !faults.contains("panicked") && !faults.contains("stack backtrace"),
                "{faults}"
            );
            assert!(faults.contains("CONSUL_HTTP_ADDR"), "{faults}");
        }
    }
}

#[test]
fn cfg_02_weak_secrets_are_refused_by_name() {
    let variables = [
        ("SUTAZAI_PROFILE", "dev"),
        ("JWT_SECRET", "short"),
        ("SECRET_KEY", "changeme"),
    ];
    let output = run(&["config", "backend"], &variables);
    assert_eq!(output.status.code(), Some(78));
    let faults = text(&output.stderr);
    assert!(
        faults.contains("JWT_SECRET") && faults.contains("SECRET_KEY"),
        "{faults}"
    );
    assert!(
        !faults.contains("short`") && !faults.contains("changeme"),
        "a secret is shown: {faults}"
    );
}

#[test]
fn cfg_09_the_effective_configuration_masks_secrets() {
    const CANARY: &str = "canary-5f1c2a7be0944d6f8b13c9e2a7d4401f";
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        &["env", "init", "--dir", &folder.path().display().to_string()],
        &[],
    );
    assert!(made.status.success(), "{}", text(&made.stderr));
    let file = |name: &str| {
        folder
            .path()
            .join("secrets")
            .join(name)
            .display()
            .to_string()
    };
    let url = format!("postgres://backend:{CANARY}@127.0.0.1/sutazai");
    let key = file("keys/backend.pem");
    let variables = [
        ("SUTAZAI_PROFILE", "dev"),
        ("DATABASE_URL", url.as_str()),
        ("SERVICE_KEY_FILE", key.as_str()),
        ("JWKS_FILE", &file("jwks.json")),
        ("USER_KEY_FILE", &file("keys/users.pem")),
        ("SECRET_KEY", CANARY),
        ("ADMIN_PASSWORD", CANARY),
        ("CONSUL_HTTP_ADDR", "127.0.0.1:8500"),
        ("CONSUL_HTTP_TOKEN", CANARY),
    ];
    for arguments in [&["config", "backend"][..], &["--json", "config", "backend"]] {
        let output = run(arguments, &variables);
        let shown = text(&output.stdout) + &text(&output.stderr);
        assert!(output.status.success(), "{shown}");
        assert!(
            shown.contains("SECRET_KEY") && shown.contains("HTTP_LISTEN"),
            "{shown}"
        );
        assert!(!shown.contains(CANARY), "a secret is shown");
    }
}

#[test]
fn the_doctor_of_nothing_says_how_to_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(
        &["doctor", "--data", &folder.path().display().to_string()],
        &[],
    );
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("sutazai dev"));
}

#[test]
fn help_has_examples() {
    for arguments in [
        &["--help"][..],
        &["dev", "--help"],
        &["migrate", "--help"],
        &["enroll", "--help"],
        &["healthcheck", "--help"],
    ] {
        let output = run(arguments, &[]);
        assert!(output.status.success() && text(&output.stdout).contains("Examples:"));
    }
}
