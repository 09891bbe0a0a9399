//! Clients written in Python: one environment for all tests, made once, and scripts that run in it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::AsyncWriteExt;

/// Longest time that a script may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// How a machine gets what it lacks.
const INSTALL: &str = "Debian, Ubuntu: sudo apt-get install python3 python3-venv";
/// Variables that would send calls to 127.0.0.1 through somebody's proxy.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "grpc_proxy"];

/// A run of a script with the packages of `tests/python/requirements.txt`.
#[derive(Debug)]
pub struct PythonScript {
    file: PathBuf,
    command: Command,
    input: Value,
}

impl PythonScript {
    /// Prepares a script of `tests/python`.
    pub async fn named(name: &str) -> Self {
        Self::at(&folder().join(name)).await
    }

    /// Prepares a script that lies elsewhere.
    pub async fn at(file: &Path) -> Self {
        let python = tokio::task::spawn_blocking(environment);
        let mut command = Command::new(python.await.expect("a Python environment"));
        // Nothing of this machine's settings, and no compiled copies beside the sources.
        command.arg("-EB").arg(file);
        for name in PROXIES {
            command.env_remove(name).env_remove(name.to_uppercase());
        }
        Self {
            file: file.to_owned(),
            command,
            input: Value::Null,
        }
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it a JSON value on its standard input: the way for credentials.
    #[must_use]
    pub fn input(mut self, input: Value) -> Self {
        self.input = input;
        self
    }

    /// Runs it to its end and returns what it printed; fails unless it ends well.
    pub async fn run(self) -> String {
        let name = self.file.display();
        let mut child = tokio::process::Command::from(self.command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Python runs");
        let mut stdin = child.stdin.take().expect("its input");
        let input = self.input.to_string();
        let ran = tokio::time::timeout(PATIENCE, async {
            // A script that reads nothing may be gone already.
            let _ = stdin.write_all(input.as_bytes()).await;
            drop(stdin);
            child.wait_with_output().await
        });
        let ran = ran
            .await
            .unwrap_or_else(|_| panic!("{name} takes too long"));
        let output = ran.expect("its output");
        assert!(output.status.success(), "{name}: {}", told(&output));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs it to its end and reads the JSON value that it printed.
    pub async fn answer<T: DeserializeOwned>(self) -> T {
        let text = self.run().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// Returns the interpreter of the environment, which the first call of the machine makes.
fn environment() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.run");
        fs::create_dir_all(&root).expect("the folder .run");
        let lock = File::create(root.join("python.lock")).expect("a lock file");
        lock.lock().expect("the lock of the environment");
        make(&root.join("python"))
    })
}

/// Makes the environment unless it is there; a half-made or outdated one is made anew.
fn make(place: &Path) -> PathBuf {
    let requirements = folder().join("requirements.txt");
    let wanted = version() + &fs::read_to_string(&requirements).expect("the requirements");
    // Written last: without it the environment is not whole.
    let receipt = place.join("receipt");
    let python = place.join("bin/python");
    if fs::read_to_string(&receipt).is_ok_and(|made| made == wanted) {
        return python;
    }
    let mut venv = Command::new("python3");
    venv.args(["-m", "venv", "--clear"]).arg(place);
    finish(venv, INSTALL);
    let mut install = Command::new(&python);
    install
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--only-binary", ":all:"])
        .arg("--requirement")
        .arg(&requirements);
    finish(install, "PyPI has to be reachable the first time");
    fs::write(&receipt, wanted).expect("the receipt");
    python
}

/// Returns what Python there is: another one needs another environment.
fn version() -> String {
    let mut python = Command::new("python3");
    python.arg("--version");
    let output = finish(python, INSTALL);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs a command to its end; fails with `advice` unless it ends well.
fn finish(mut command: Command, advice: &str) -> Output {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}. {advice}"));
    let told = told(&output);
    assert!(output.status.success(), "{command:?}: {told}. {advice}");
    output
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr].concat();
    format!("{}\n{}", output.status, String::from_utf8_lossy(&text))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("python")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[tokio::test]
    async fn a_script_gets_its_input_and_environment_and_answers() {
        let script = PythonScript::named("hello.py").await;
        let answer: Value = script
            .env("WORD", "yes")
            .input(json!({"n": 1}))
            .answer()
            .await;
        assert_eq!(answer, json!({"given": {"n": 1}, "word": "yes"}));
    }

    #[tokio::test]
    #[should_panic(expected = "asked to fail")]
    async fn a_script_that_fails_says_why() {
        let script = PythonScript::named("hello.py").await;
        script.input(json!({"fail": true})).run().await;
    }

    #[test]
    #[should_panic(expected = "apt-get install python3")]
    fn a_missing_program_is_named_with_its_command() {
        finish(Command::new("no-such-python"), INSTALL);
    }
}
