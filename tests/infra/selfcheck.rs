//! `--selfcheck` of every service, with everything there and with a part missing.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::Value;
use sutazai_cli::configuration::SERVICES;
use system_tests::program::program;

use crate::platform::{Platform, shared};

/// Runs a service's selfcheck with the variables that the supervisor gave it.
fn check(platform: &Platform, service: &str, change: &[(&str, &str)]) -> (bool, Value) {
    let environment = fs::read(format!("/proc/{}/environ", platform.process(service).pid));
    let environment = environment.expect("its variables");
    let variables: BTreeMap<String, String> = environment
        .split(|byte| *byte == 0)
        .filter_map(|pair| {
            let text = String::from_utf8_lossy(pair).into_owned();
            let (name, value) = text.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        })
        .collect();
    let output = Command::new(program())
        .args(["serve", service, "--selfcheck", "--json"])
        .env_clear()
        .envs(variables)
        .envs(change.iter().copied())
        .output()
        .expect("the program runs");
    let report = serde_json::from_slice(&output.stdout).expect("a report");
    (output.status.success(), report)
}

fn parts(report: &Value, ok: bool) -> Vec<&str> {
    let parts = report["parts"].as_array().expect("parts");
    let chosen = parts.iter().filter(|part| part["ok"] == ok);
    chosen.filter_map(|part| part["part"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_10_every_service_reaches_what_it_needs_and_says_so() {
    let platform = shared().await;
    for service in SERVICES {
        let (well, report) = check(&platform, service.as_str(), &[]);
        assert!(well, "{service}: {report:#}");
        let parts = parts(&report, true);
        for part in ["configuration", "keys", "registry"] {
            assert!(parts.contains(&part), "{service} does not look at {part}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cfg_10_what_is_missing_is_named_alone() {
    let platform = shared().await;
    let nobody = [("CONSUL_HTTP_ADDR", "http://127.0.0.1:1")];
    let (well, report) = check(&platform, "task-coordinator", &nobody);
    assert!(!well, "{report:#}");
    assert_eq!(parts(&report, false), ["registry"], "{report:#}");
}
