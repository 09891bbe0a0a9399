//! The generated files of the repository: one source, compared in the checks.

use std::{fs, io, path::Path};

use crate::{environment, screen::Screen};

/// Why the generated files are not as they should be.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can not be written.
    #[error("can not write {path}")]
    Write {
        /// The file.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Committed files differ from what would be generated.
    #[error("stale, run `make generate`: {}", .0.join(", "))]
    Stale(Vec<&'static str>),
}

/// Returns each generated file, by its path from the root of the repository.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        (".env.example", environment::example()),
        (
            "crates/telemetry/METRICS.md",
            sutazai_telemetry::names::table(),
        ),
    ]
}

/// Writes the files below the current folder, or checks them.
///
/// # Errors
/// What can not be written, or is stale.
pub fn command(check: bool, screen: &Screen) -> Result<(), Error> {
    let mut stale = Vec::new();
    for (path, text) in files() {
        if fs::read_to_string(Path::new(path)).is_ok_and(|found| found == text) {
            continue;
        }
        if check {
            stale.push(path);
        } else {
            fs::write(path, text).map_err(|source| Error::Write { path, source })?;
            screen.line(format!("wrote {path}"));
        }
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(Error::Stale(stale))
    }
}
