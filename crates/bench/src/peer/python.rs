//! Programs from PyPI, each in an environment of its own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::failure::Failure;

/// Returns the folder of programs of an environment that holds the pinned packages.
pub(super) fn installed(
    name: &'static str,
    folder: &Path,
    packages: &str,
) -> Result<PathBuf, Failure> {
    let programs = folder.join("bin");
    let mark = folder.join("installed");
    if fs::read_to_string(&mark).is_ok_and(|found| found == packages) {
        return Ok(programs);
    }
    let run = |command: &mut Command| run(name, command);
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = ["install", "--quiet"]
        .into_iter()
        .chain(packages.split(' '));
    run(Command::new(programs.join("pip")).args(pip))?;
    fs::write(&mark, packages).map_err(Failure::doing("note what was installed"))?;
    Ok(programs)
}

fn run(name: &'static str, command: &mut Command) -> Result<(), Failure> {
    let output = command
        .output()
        .map_err(Failure::doing(format!("install {name}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().next_back().unwrap_or_default().to_owned();
    Err(Failure::Missing(name, last))
}
