//! Secrets and files that are mounted: declared, made by `sutazai env init`, and given to whoever reads them.

use std::{collections::BTreeSet, fs, sync::LazyLock};

use serde_json::Value;
use sutazai_cli::environment;
use tempfile::TempDir;

use super::{Compose, entries, keys, texts};

/// Where secrets are inside a container.
const FOLDER: &str = "/run/secrets/";
/// What `sutazai env init` makes.
static MADE: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    environment::init(folder.path()).expect("the secret files");
    folder
});
/// Files that a command of ours writes on the machine.
const WRITTEN: [&str; 1] = [".run/kong.yml"];

pub(super) fn faults(compose: &Compose<'_>) -> Vec<String> {
    [
        secrets(compose),
        grants(compose),
        enrolled(compose),
        configs(compose),
        volumes(compose),
    ]
    .concat()
}

/// Each secret that is declared has a file that `sutazai env init` makes.
fn secrets(compose: &Compose<'_>) -> Vec<String> {
    let missing = entries(&compose.root["secrets"]).filter(|(_, secret)| {
        !file_of(secret).is_some_and(|file| MADE.path().join(file).is_file())
    });
    missing
        .map(|(name, secret)| {
            let file = &secret["file"];
            format!("`env init` makes no {file} for the secret {name}")
        })
        .collect()
}

/// Each secret is given to those who read it, and to nobody else.
fn grants(compose: &Compose<'_>) -> Vec<String> {
    let mut unused = keys(&compose.root["secrets"]);
    let declared = unused.clone();
    let mut faults = Vec::new();
    for (name, container) in compose.services() {
        let given: BTreeSet<&str> = texts(&container["secrets"]).collect();
        let unknown = given.difference(&declared);
        faults.extend(unknown.map(|secret| format!("{name} is given {secret}, which is none")));
        let text = container.to_string();
        let read = read(&text);
        let denied = read.difference(&given);
        faults.extend(denied.map(|secret| format!("{name} reads {secret}, which it is not given")));
        // A preparation reads the whole folder.
        let whole = texts(&container["command"]).any(|argument| argument == "/run/secrets");
        let idle = given.difference(&read).filter(|_| !whole);
        faults.extend(idle.map(|secret| format!("{name} is given {secret} and does not read it")));
        unused.retain(|secret| !given.contains(secret));
    }
    faults.extend(
        unused
            .iter()
            .map(|secret| format!("nobody is given {secret}")),
    );
    faults
}

/// Whoever gives rights is given the token of everybody who has some.
fn enrolled(compose: &Compose<'_>) -> Vec<String> {
    let given: BTreeSet<&str> = texts(&compose.root["services"]["enroll"]["secrets"]).collect();
    let made = fs::read_dir(MADE.path().join("secrets")).expect("the secret files");
    let made = made.flatten().map(|file| file.file_name());
    let tokens = made.map(|name| name.to_string_lossy().into_owned());
    let missing =
        tokens.filter(|name| name.starts_with("consul-") && !given.contains(name.as_str()));
    missing
        .map(|name| format!("enroll reads {name}, which it is not given"))
        .collect()
}

/// Lists the secrets whose paths stand in a text.
fn read(text: &str) -> BTreeSet<&str> {
    let paths = text.split(FOLDER).skip(1);
    let names = paths.map(|path| {
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        &path[..path.find(|c| !is_name(c)).unwrap_or(path.len())]
    });
    names.collect()
}

/// Each file that is mounted is declared, and is in the repository or written by a command.
fn configs(compose: &Compose<'_>) -> Vec<String> {
    let declared = &compose.root["configs"];
    let mut faults = Vec::new();
    for (name, config) in entries(declared) {
        let file = file_of(config).unwrap_or_default();
        if compose.tree.text(file).is_none() && !WRITTEN.contains(&file) {
            faults.push(format!("{file} of the configuration {name} is nowhere"));
        }
    }
    for (name, container) in compose.services() {
        for config in container["configs"].as_array().into_iter().flatten() {
            let source = config["source"].as_str().unwrap_or_default();
            if declared[source].is_null() {
                faults.push(format!(
                    "{name} is given {source}, which is no configuration"
                ));
            }
        }
    }
    faults
}

/// Data lies in volumes that are declared, never in a folder of the machine.
fn volumes(compose: &Compose<'_>) -> Vec<String> {
    let declared = keys(&compose.root["volumes"]);
    let mut faults = Vec::new();
    for (name, container) in compose.services() {
        for volume in texts(&container["volumes"]) {
            let source = volume.split(':').next().unwrap_or_default();
            if !declared.contains(source) {
                faults.push(format!("{name} has the volume {source}, which is none"));
            }
        }
    }
    faults
}

/// Returns a file by its path from the root of the repository.
fn file_of(declared: &Value) -> Option<&str> {
    declared["file"].as_str()?.strip_prefix("../")
}
