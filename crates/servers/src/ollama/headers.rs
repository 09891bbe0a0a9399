//! Header files that Ollama's module leaves out of its own copy of foreign sources.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use tokio::process::Command;

use crate::{passage, start::LaunchError};

/// Headers that Debian packages carry, with the package of each.
const PACKAGED: [(&str, &str); 2] = [
    ("/usr/include/nlohmann/json.hpp", "nlohmann-json3-dev"),
    ("/usr/include/stb/stb_image.h", "libstb-dev"),
];
/// The source package on PyPI that carries `miniaudio.h`; Debian has none.
const MINIAUDIO: &str = "miniaudio==1.71";

/// Why the headers are not complete.
#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    /// A package of the distribution is missing.
    #[error(
        "to build ollama, {header} is missing.\n  Debian, Ubuntu:  sudo apt-get install {package}"
    )]
    Missing {
        /// The header.
        header: &'static str,
        /// The package.
        package: &'static str,
    },
    /// A program could not be run.
    #[error(
        "to build ollama, {program} is needed.\n  Debian, Ubuntu:  sudo apt-get install {package}"
    )]
    Run {
        /// The program.
        program: &'static str,
        /// The package.
        package: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A file could not be prepared, or a program said no.
    #[error(transparent)]
    Launch(#[from] LaunchError),
}

/// Makes a folder below `folder` for the compiler to search, beside `/usr/include`.
pub(super) async fn prepare(folder: &Path) -> Result<PathBuf, HeaderError> {
    for (header, package) in PACKAGED {
        if !Path::new(header).is_file() {
            return Err(HeaderError::Missing { header, package });
        }
    }
    let headers = folder.join("include");
    if headers.join("miniaudio/miniaudio.h").is_file() {
        return Ok(headers);
    }
    // Whole or not at all, however many processes make it at once.
    let part = folder.join(format!("include-{}", std::process::id()));
    let (target, source) = (part.join("miniaudio"), part.join("source"));
    passage::make(&target).map_err(LaunchError::preparing(&target))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet"])
        .args(["--disable-pip-version-check", "--no-deps"])
        .args(["--no-binary", ":all:", "--dest"])
        .arg(&source)
        .arg(MINIAUDIO);
    run("python3", "python3-pip", pip).await?;
    let archive = only_file(&source)?;
    let mut tar = Command::new("tar");
    // The member is <package>/miniaudio/miniaudio.h: the last part remains.
    tar.args(["--extract", "--gzip", "--strip-components=2"])
        .args(["--wildcards", "--directory"])
        .arg(&target)
        .arg("--file")
        .arg(archive)
        .arg("*/miniaudio/miniaudio.h");
    run("tar", "tar", tar).await?;
    if let Err(source) = fs::rename(&part, &headers)
        && !headers.is_dir()
    {
        return Err(LaunchError::preparing(&headers)(source).into());
    }
    Ok(headers)
}

fn only_file(folder: &Path) -> Result<PathBuf, HeaderError> {
    let preparing = LaunchError::preparing(folder);
    let mut files = fs::read_dir(folder).map_err(&preparing)?;
    let missing = || preparing(io::ErrorKind::NotFound.into());
    let file = files.next().ok_or_else(missing)?.map_err(&preparing)?;
    Ok(file.path())
}

async fn run(
    program: &'static str,
    package: &'static str,
    mut command: Command,
) -> Result<(), HeaderError> {
    let output = command.output().await.map_err(|source| HeaderError::Run {
        program,
        package,
        source,
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(LaunchError::failed(program, &output.stderr).into())
}
