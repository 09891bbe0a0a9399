//! The Go that builds programs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::child::on_path;

/// Where Go's own archive puts it.
const USUAL: &str = "/usr/local/go/bin/go";
/// Oldest version that builds our programs, as `1.x`.
const OLDEST: u32 = 25;

/// Finds a Go that is new enough, or says what is wrong.
pub(super) fn find() -> Result<PathBuf, String> {
    let usual = || Some(PathBuf::from(USUAL)).filter(|path| path.is_file());
    let go = on_path("go")
        .or_else(usual)
        .ok_or_else(|| format!("Go 1.{OLDEST} or later is needed, which is not on the PATH"))?;
    let version = version(&go).unwrap_or_else(|| "of an unknown version".to_owned());
    match minor(&version) {
        Some(minor) if minor >= OLDEST => Ok(go),
        _ => Err(format!(
            "Go 1.{OLDEST} or later is needed; {} is {version}",
            go.display()
        )),
    }
}

fn version(go: &Path) -> Option<String> {
    // The version of this very Go, not of one that it would download.
    let mut command = Command::new(go);
    command
        .args(["env", "GOVERSION"])
        .env("GOTOOLCHAIN", "local")
        .current_dir("/")
        .stdin(Stdio::null());
    let output = command.output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Reads the `25` of `go1.25.5`.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minor_version_is_read() {
        assert_eq!(minor("go1.25.5"), Some(25));
        assert_eq!(minor("go1.26rc1"), Some(26));
        assert_eq!(minor("devel"), None);
    }
}
