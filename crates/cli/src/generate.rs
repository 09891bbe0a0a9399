//! The generated files of the repository: one source, compared in the checks.

pub mod results;

use std::{fs, io, path::Path};

use sutazai_gateway::kong::{self, Site, Unwritable, conf};
use sutazai_messaging::topology::{self, definitions};

use crate::{environment, screen::Screen};

/// The one file of which only a part is generated.
const README: &str = "README.md";

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
    /// A file that another one is made from can not be read.
    #[error("can not read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// The committed results of the benchmark have another shape.
    #[error("{} does not hold results of this version", results::PATH)]
    Results(#[source] serde_json::Error),
    /// Committed files differ from what would be generated.
    #[error("stale, run `make generate`: {}", .0.join(", "))]
    Stale(Vec<&'static str>),
}

/// Returns each generated file, by its path from the root of the repository.
///
/// # Errors
/// A file can not be rendered, or what it is made from can not be read.
pub fn files(root: &Path) -> Result<Vec<(&'static str, String)>, Error> {
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
        (README, readme(root)?),
    ];
    files.extend(sutazai_proto::producers::schemas());
    Ok(files)
}

/// Returns the README with the table of the committed benchmark, whose figures are never typed.
fn readme(root: &Path) -> Result<String, Error> {
    let read = |path| fs::read_to_string(root.join(path));
    let text = read(README).map_err(|source| Error::Read {
        path: README,
        source,
    })?;
    let measured = match read(results::PATH) {
        Ok(json) => Some(serde_json::from_str(&json).map_err(Error::Results)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(Error::Read {
                path: results::PATH,
                source,
            });
        }
    };
    Ok(results::into_readme(&text, measured.as_ref()))
}

/// Writes the files below the current folder, or checks them.
///
/// # Errors
/// What can not be written, or is stale.
pub fn command(check: bool, screen: &Screen) -> Result<(), Error> {
    let mut stale = Vec::new();
    for (path, text) in files(Path::new("."))? {
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
