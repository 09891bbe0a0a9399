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
    above(3)
}

/// The folder of the programs that were built with the profile of this test.
pub fn programs() -> PathBuf {
    above(2)
}

/// A folder above this program, which is `<target>/debug/deps/platform-…`.
fn above(levels: usize) -> PathBuf {
    let program = std::env::current_exe().expect("this program");
    let folder = program.ancestors().nth(levels);
    folder.expect("a target folder").to_owned()
}

/// Returns the path of the program, built from this tree.
pub fn program() -> PathBuf {
    build(&["--bin", "sutazai"]);
    programs().join("sutazai")
}

/// Builds with the parts of the tests: the features are theirs, so nothing is built twice.
pub fn build(what: &[&str]) {
    let folder = programs();
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        other => other.expect("a folder of a profile"),
    };
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["build", "--quiet", "--workspace", "--all-features"])
        .args(["--profile", profile])
        .args(what)
        .current_dir(root())
        .env("CARGO_TARGET_DIR", target());
    let status = as_from_a_shell(&mut command).status();
    assert!(
        status.expect("cargo runs").success(),
        "{what:?} does not build"
    );
}

/// Takes away what cargo tells a test about its package. A cargo that the test runs would hand it
/// to build scripts, of which some watch it: they and all above them would be built again.
pub fn as_from_a_shell(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}
