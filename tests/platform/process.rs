//! `sutazai dev` as a child process.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;
use sutazai_cli::site::Description;
use system_tests::program::{as_from_a_shell, program, target};

/// Longest time for a build and a start.
const START_LIMIT: Duration = Duration::from_secs(900);
/// Longest time from a signal to the end.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// A folder that the database's own account can reach.
pub(crate) fn folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("its mode");
    folder
}

/// A running platform; killed when dropped.
pub(crate) struct Dev {
    child: Child,
    /// Where everything is.
    pub(crate) description: Description,
    /// The printed commands, by what they do.
    pub(crate) commands: Value,
}

impl Dev {
    /// Builds and runs the platform with the README's command.
    pub(crate) fn make_run(repository: &Path, arguments: &str) -> Self {
        let mut command = Command::new("make");
        command
            .arg("--silent")
            .arg("run")
            .arg(format!("ARGS=--json {arguments}"));
        as_from_a_shell(command.env("CARGO_TARGET_DIR", target()));
        // Where the program lies is the Makefile's business: it looks in ./target.
        let link = repository.join("target");
        if !link.exists() {
            std::os::unix::fs::symlink(target(), &link).expect("a link to the target folder");
        }
        Self::start(command.current_dir(repository))
    }

    /// Runs the command line program directly.
    pub(crate) fn run(data: &Path, nodes: &str) -> Self {
        let mut command = Command::new(program());
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
            .arg(data);
        Self::start(command.env("OLLAMA_URLS", nodes))
    }

    /// Runs a command that starts the platform, and waits until it takes work.
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the command runs");
        let output = child.stdout.take().expect("its output");
        let (send, lines) = std::sync::mpsc::sync_channel(64);
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        let give_up = Instant::now() + START_LIMIT;
        while let Ok(line) = lines.recv_timeout(give_up.saturating_duration_since(Instant::now())) {
            let event: Value = serde_json::from_str(&line).unwrap_or(Value::Null);
            match event["event"].as_str() {
                Some("ready") => {
                    // Whoever prints later must not wait for a reader.
                    std::thread::spawn(move || lines.into_iter().for_each(drop));
                    let description = serde_json::from_value(event["platform"].clone());
                    let description = description.expect("the description of the platform");
                    return Self {
                        child,
                        description,
                        commands: event["commands"].clone(),
                    };
                }
                Some("failed") => panic!("the platform did not start: {line}"),
                _ => {}
            }
        }
        panic!(
            "the platform ended or was not ready in {START_LIMIT:?}: {:?}",
            child.try_wait()
        );
    }

    /// Sends Ctrl-C to the platform and waits for its end.
    pub(crate) fn interrupt(self) {
        self.stop(Signal::INT);
    }

    /// Asks the platform to stop as a supervisor does, and waits for its end.
    pub(crate) fn terminate(self) {
        self.stop(Signal::TERM);
    }

    fn stop(mut self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the platform runs");
        let give_up = Instant::now() + STOP_LIMIT;
        while self.child.try_wait().expect("a child").is_none() {
            assert!(
                Instant::now() < give_up,
                "not gone {STOP_LIMIT:?} after the signal"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        assert!(!self.has_postgres(), "postgres outlived the platform");
    }

    /// Kills the platform without warning, as a crash of the machine would.
    pub(crate) fn kill(mut self) {
        kill_process(self.pid(), Signal::KILL).expect("the platform runs");
        let _ = self.child.wait();
    }

    fn pid(&self) -> Pid {
        pid(self.description.pid)
    }

    fn has_postgres(&self) -> bool {
        test_kill_process(pid(self.description.postgres_pid)).is_ok()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = kill_process(self.pid(), Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw.try_into().expect("a pid")).expect("a pid")
}

/// Runs a printed command in a shell.
pub(crate) fn shell(command: &str) -> Output {
    Command::new("sh")
        .args(["-c", command])
        .output()
        .expect("a shell")
}
