//! Names that say nothing, or say when.

use crate::tree::Tree;

/// Words that no file or folder is named by.
const FORBIDDEN: [&str; 13] = [
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "new", "old", "legacy",
    "v2", "tmp", "mod",
];
/// What may stand at the top.
const TOP: [&str; 12] = [
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "README.md",
    "rust-toolchain.toml",
    "crates",
    "proto",
    "deploy",
    "kong",
    "consul",
    "tests",
];

fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, _) in tree.files() {
        let top = path.split('/').next().unwrap_or_default();
        if !top.starts_with('.') && !TOP.contains(&top) {
            faults.push(format!("{path}: {top} is not part of the top level"));
        }
        let stems = path
            .split('/')
            .map(|part| part.strip_suffix(".rs").unwrap_or(part));
        let bad = stems
            .flat_map(|stem| stem.split(['_', '-']))
            .find(|word| FORBIDDEN.contains(word));
        if let Some(word) = bad.filter(|_| path.ends_with(".rs")) {
            faults.push(format!("{path}: no file is named by `{word}`"));
        }
    }
    faults
}

#[test]
fn files_are_named_by_nouns() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn planted_names_are_found() {
    for path in [
        "crates/mesh/src/utils.rs",
        "crates/mesh/src/new_balancer.rs",
        "crates/mesh/src/a/mod.rs",
        "docs/a.md",
    ] {
        crate::assert_found(&faults(&Tree::of([(path, "")])), path);
    }
}
