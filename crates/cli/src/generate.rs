//! The generated files of the repository: one source, compared in the checks.

use std::{fs, io, path::Path};

use sutazai_gateway::kong::{self, Site, Unwritable, conf};
use sutazai_messaging::topology::{self, definitions};

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
    /// Kong's configuration can not be rendered.
    #[error(transparent)]
    Gateway(#[from] Unwritable),
    /// Committed files differ from what would be generated.
    #[error("stale, run `make generate`: {}", .0.join(", "))]
    Stale(Vec<&'static str>),
}

/// Returns each generated file, by its path from the root of the repository.
///
/// # Errors
/// A file can not be rendered.
pub fn files() -> Result<Vec<(&'static str, String)>, Error> {
    let mut files = vec![
        (".env.example", environment::example()),
        (
            "crates/telemetry/METRICS.md",
            sutazai_telemetry::names::table(),
        ),
        (
            "deploy/rabbitmq/definitions.json",
            definitions::render(&topology::platform()),
        ),
        (
            "kong/kong.yml",
            kong::declaration(&Site::default()).to_yaml()?,
        ),
        ("kong/kong.conf", conf::text()),
    ];
    files.extend(sutazai_proto::producers::schemas());
    Ok(files)
}

/// Writes the files below the current folder, or checks them.
///
/// # Errors
/// What can not be written, or is stale.
pub fn command(check: bool, screen: &Screen) -> Result<(), Error> {
    let mut stale = Vec::new();
    for (path, text) in files()? {
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
