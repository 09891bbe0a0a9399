//! Whose state it is, and how to keep or drop it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use sutazai_servers::moved;
use system_tests::program::program;

use crate::process::{Dev, folder};

/// An account that owns nothing.
const STRANGER: u32 = 65534;

fn tasks(dev: &Dev) -> usize {
    let get = format!(
        r#"curl -sf {}/api/v1/tasks -H "Authorization: Bearer $(cat {})""#,
        dev.description.api,
        dev.description.api_key_file.display()
    );
    let output = crate::process::shell(&get);
    let list: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a list");
    list["items"].as_array().expect("items").len()
}

fn dev(program: &Path, data: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "--json",
            "dev",
            "--port",
            "0",
            "--proxy-port",
            "0",
            "--data",
        ])
        .arg(data)
        .args(more);
    command
}

#[test]
fn a_backup_keeps_what_a_reset_throws_away() {
    let folder = folder();
    let (data, dump) = (
        folder.path().join("state"),
        folder.path().join("before.dump"),
    );
    let first = Dev::start(&mut dev(&program(), &data, &[]));
    submit(&first);
    assert_eq!(tasks(&first), 1);
    let key = fs::read(&first.description.api_key_file).expect("the key");
    first.interrupt();

    let more = ["--reset", "--backup", &dump.display().to_string()];
    let second = Dev::start(&mut dev(&program(), &data, &more));
    assert_eq!(tasks(&second), 0, "the reset kept a task");
    assert_ne!(
        fs::read(&second.description.api_key_file).expect("the key"),
        key
    );
    assert_dumped(&dump);
    second.interrupt();
}

/// Has a task run, by the command that the platform prints.
fn submit(platform: &Dev) {
    let command = &platform.commands["a task, followed to its end"];
    let command = command.as_str().expect("a command");
    assert!(crate::process::shell(command).status.success());
}

fn assert_dumped(file: &Path) {
    let dump = fs::read(file).expect("the dump");
    assert!(dump.starts_with(b"PGDMP"), "no dump of pg_dump");
}

/// Returns where the database of a state folder lives by now.
fn cluster(data: &Path) -> PathBuf {
    moved::resolved(&data.join("postgres"))
}

#[test]
fn a_database_that_has_to_live_elsewhere_is_dropped_with_its_secrets() {
    if !rustix::process::geteuid().is_root() {
        // Then the database runs under the same account, and lives here.
        return;
    }
    let folder = folder();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("its mode");
    let (data, dump) = (
        folder.path().join("state"),
        folder.path().join("before.dump"),
    );
    let first = Dev::start(&mut dev(&program(), &data, &[]));
    submit(&first);
    first.interrupt();
    let before = cluster(&data);
    assert!(!before.starts_with(folder.path()), "nothing has moved");
    assert!(before.exists());

    let more = ["--reset", "--backup", &dump.display().to_string()];
    let second = Dev::start(&mut dev(&program(), &data, &more));
    assert_eq!(tasks(&second), 0, "the reset kept a task");
    second.interrupt();
    assert_dumped(&dump);
    assert!(!before.exists(), "the reset left the old database");

    // A deleted folder takes the secrets along; the next one must not find a database that knows others.
    let lost = cluster(&data);
    fs::remove_dir_all(&data).expect("the folder");
    let third = Dev::start(&mut dev(&program(), &data, &[]));
    assert_eq!(tasks(&third), 0);
    third.interrupt();
    assert_ne!(cluster(&data), lost);
    moved::forget(&data).expect("what moved");
    let lost = lost.parent().expect("its place");
    fs::remove_dir_all(lost).expect("what was lost");
}

#[test]
fn an_ordinary_user_runs_it_too() {
    if !rustix::process::geteuid().is_root() {
        // Then every other test here has shown it.
        return;
    }
    let folder = folder();
    let home = folder.path().join("home");
    fs::create_dir(&home).expect("a folder");
    std::os::unix::fs::chown(&home, Some(STRANGER), Some(STRANGER)).expect("its owner");
    // The target folder may lie where that user can not go.
    let copy = folder.path().join("sutazai");
    fs::copy(program(), &copy).expect("a copy of the program");
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).expect("its mode");

    let id = STRANGER.to_string();
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(&copy);
    command
        .args([
            "--json",
            "dev",
            "--port",
            "0",
            "--proxy-port",
            "0",
            "--data",
        ])
        .arg(home.join("state"));
    let running = Dev::start(command.current_dir("/").env("HOME", &home));
    assert_eq!(tasks(&running), 0);
    let key = fs::metadata(&running.description.api_key_file).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    running.interrupt();
}
