//! Repository rules. Each rule is a function from a tree of files to faults, run over this
//! repository and over a small tree with a planted fault, which it has to find.

#![expect(
    clippy::expect_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test may panic; extensions are lower case here"
)]

mod budget;
mod calls;
mod compose;
mod contracts;
mod gateway;
mod generated;
mod image;
mod layers;
mod names;
mod packages;
mod plans;
mod service_names;
mod tree;
mod words;

use std::io::{self, Write};

use tree::Tree;

/// Fails with all faults, one a line.
fn assert_none(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} faults:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

/// Fails unless the planted fault, and nothing else, was found.
fn assert_found(faults: &[String], part: &str) {
    assert_eq!(faults.len(), 1, "one fault was planted, found: {faults:?}");
    assert!(
        faults[0].contains(part),
        "{:?} does not name {part}",
        faults[0]
    );
}

/// Says past the harness, which keeps what a good test prints, that a part was not looked at.
fn not_run(why: &str) {
    // Nobody is left to tell when standard output is closed.
    let _ = writeln!(io::stdout(), "not run: {why}");
}

/// The files of this repository.
fn repository() -> Tree {
    Tree::read(std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/.."
    )))
}
