//! Repository rules. Each rule is a function from a tree of files to faults, run over this
//! repository and over a small tree with a planted fault, which it has to find.

#![expect(
    clippy::expect_used,
    clippy::case_sensitive_file_extension_comparisons,
    reason = "a test may panic; extensions are lower case here"
)]

mod budget;
mod calls;
mod contracts;
mod gateway;
mod generated;
mod layers;
mod names;
mod packages;
mod service_names;
mod tree;
mod words;

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

/// The files of this repository.
fn repository() -> Tree {
    Tree::read(std::path::Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/.."
    )))
}
