//! The program of this tree, for tests that run it as a stranger does.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The root of this repository.
pub fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    root.canonicalize().expect("the repository")
}

/// The target folder that this test was built in: builds of the same code find their parts there.
pub fn target() -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    // <target>/debug/deps/platform-…
    program
        .ancestors()
        .nth(3)
        .expect("a target folder")
        .to_owned()
}

/// Returns the path of the program, built from this tree.
pub fn program() -> PathBuf {
    let status = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bin", "sutazai"])
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target())
        .status();
    assert!(
        status.expect("cargo runs").success(),
        "the program does not build"
    );
    target().join("debug/sutazai")
}
