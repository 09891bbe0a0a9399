//! Words that promise, pretend, or name one machine.

use crate::tree::Tree;

/// What must not stand in the tree, in two halves so that this file does not find itself.
const FORBIDDEN: [(&str, &str); 9] = [
    ("TO", "DO"),
    ("FIX", "ME"),
    ("todo", "!("),
    ("unimplemented", "!("),
    ("not implemented", " yet"),
    ("#[ign", "ore"),
    ("/ro", "ot/"),
    ("/wo", "rk/"),
    ("/ho", "me/"),
];
const ENDINGS: [&str; 7] = [".rs", ".proto", ".sql", ".sh", ".py", ".toml", ".md"];

fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, text) in tree
        .files()
        .filter(|(path, _)| ENDINGS.iter().any(|end| path.ends_with(end)))
    {
        for (number, line) in text.lines().enumerate() {
            let found = FORBIDDEN
                .iter()
                .map(|(a, b)| format!("{a}{b}"))
                .find(|word| line.contains(word.as_str()));
            faults.extend(found.map(|word| format!("{path}:{} has `{word}`", number + 1)));
        }
    }
    faults
}

#[test]
fn nothing_promises_or_pretends() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn a_planted_promise_is_found() {
    let line = format!("// {}{}: later", "TO", "DO");
    crate::assert_found(
        &faults(&Tree::of([("crates/mesh/src/lib.rs", &line)])),
        "lib.rs:1",
    );
}
