//! The image itself, where a Docker engine answers.

use std::process::{Command, Output};

use super::FILE;

/// Largest image, in bytes (CFG-12).
const LARGEST: u64 = 60_000_000;
const TAG: &str = "sutazai:checked";

#[test]
fn cfg_12_the_image_has_at_most_60_megabytes() {
    if !docker(&["version"]).is_ok_and(|output| output.status.success()) {
        crate::not_run("no docker (no engine answers `docker version`)");
        return;
    }
    text(&["build", "--quiet", "-f", FILE, "-t", TAG, "."]);
    let size = text(&["image", "inspect", "--format={{.Size}}", TAG]);
    let size: u64 = size.trim().parse().expect("bytes");
    assert!(size <= LARGEST, "the image has {size} bytes");
    let version = text(&["run", "--rm", "--read-only", TAG, "--version"]);
    assert!(version.starts_with("sutazai "), "{version}");
}

/// Returns what a command prints that ends well.
fn text(arguments: &[&str]) -> String {
    let output = docker(arguments).expect("docker ran a moment ago");
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn docker(arguments: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new("docker");
    command
        .args(arguments)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .output()
}
