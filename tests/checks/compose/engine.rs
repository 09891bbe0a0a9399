//! The engine's own judgement, where there is one.

use std::process::{Command, Output};

use super::FILE;

#[test]
fn the_engine_takes_the_compose_file() {
    if !compose(&["version"]).is_ok_and(|output| output.status.success()) {
        crate::not_run("no docker (`docker compose version` does not answer)");
        return;
    }
    let profiles = ["gateway", "models", "replicas"].map(|name| format!("--profile={name}"));
    let mut arguments: Vec<&str> = vec!["-f", FILE];
    arguments.extend(profiles.iter().map(String::as_str));
    arguments.extend(["config", "--quiet"]);
    let output = compose(&arguments).expect("docker ran a moment ago");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn compose(arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new("docker");
    command.arg("compose").args(arguments);
    command
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
}
