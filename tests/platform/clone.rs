//! The README's way: clone, `make run`, the printed commands, Ctrl-C, again.

use std::{fs, path::Path, process::Command};

use rustix::fs::Mode;
use serde_json::Value;

use system_tests::program::{program, root};

use crate::process::{Dev, folder, shell};

/// Ports of its own: the documented ones may be taken on this machine.
const PORTS: &str = "--port 0 --proxy-port 0";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn clone(into: &Path) {
    let status = Command::new("git")
        .args(["clone", "--quiet", "--local"])
        .arg(root())
        .arg(into)
        .status();
    assert!(
        status.expect("git runs").success(),
        "can not clone this repository"
    );
}

/// Runs a printed command and returns its output.
fn paste(dev: &Dev, what: &str) -> String {
    let command = dev.commands[what]
        .as_str()
        .unwrap_or_else(|| panic!("no command for {what}"));
    let output = shell(command);
    assert!(
        output.status.success(),
        "{command}\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn msh_12_a_fresh_clone_runs_answers_its_printed_commands_and_keeps_its_state() {
    let folder = folder();
    let repository = folder.path().join("clone");
    clone(&repository);
    // A closed umask is common; the database's own account has to get through all the same.
    rustix::process::umask(Mode::from_raw_mode(0o077));

    let dev = Dev::make_run(&repository, PORTS);
    let chat = paste(&dev, "a chat");
    assert!(
        chat.contains("event: token"),
        "no token was streamed: {chat}"
    );
    assert!(
        chat.contains("event: done"),
        "the chat did not end well: {chat}"
    );
    let task = paste(&dev, "a task, followed to its end");
    assert!(
        task.contains("event: succeeded"),
        "the task did not succeed: {task}"
    );
    let doctor = paste(&dev, "a look at every part");
    assert!(doctor.contains("task"), "{doctor}");
    let key = fs::read_to_string(&dev.description.api_key_file).expect("the API key");
    let published = fs::read_to_string(repository.join(".run/dev.json")).expect("dev.json");
    assert!(!published.contains(key.trim()), "dev.json holds a secret");
    assert!(published.contains(&dev.description.api));

    let second = Command::new(program())
        .args(["dev", "--port", "0", "--proxy-port", "0", "--data"])
        .arg(repository.join(".run"))
        .output()
        .expect("the program runs");
    assert!(
        !second.status.success(),
        "a second platform on the same folder"
    );
    assert!(
        text(&second.stderr).contains("already runs"),
        "{}",
        text(&second.stderr)
    );
    dev.interrupt();

    let dev = Dev::make_run(&repository, PORTS);
    for (path, what) in [
        ("/api/v1/tasks", "tasks"),
        ("/api/v1/chat/conversations", "conversations"),
    ] {
        let get = format!(
            r#"curl -sf {}{path} -H "Authorization: Bearer $(cat {})""#,
            dev.description.api,
            dev.description.api_key_file.display()
        );
        let list: Value = serde_json::from_slice(&shell(&get).stdout).expect("a list");
        let items = list["items"].as_array().map_or(0, Vec::len);
        assert!(items >= 1, "no {what} after a restart: {list}");
    }
    dev.interrupt();
}
