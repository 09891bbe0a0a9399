//! Programs of foreign servers that distributions do not carry: found, else built once from a
//! pinned Go module.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

mod build;
mod toolchain;

use crate::{
    account::{Account, fnv1a},
    child::on_path,
    start::LaunchError,
};

/// Where programs that somebody put there by hand are, beside a checkout's data.
const HAND_PLACED: &str = ".run/bin";
/// Names the folder that keeps built programs.
const CACHE_VARIABLE: &str = "SUTAZAI_PROGRAMS";

/// A program that one Go module pins, with the checksum of everything it is made of.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// Name of the binary.
    pub name: &'static str,
    /// Go package of its main function.
    pub package: &'static str,
    /// Environment variable that names a binary to use in place of any other.
    pub variable: &'static str,
    /// Text of `go.mod`. It is part of our own binary: a build needs no checkout.
    pub module: &'static str,
    /// Text of `go.sum`.
    pub checksums: &'static str,
    /// How long a build takes on two cores, for the line that announces it.
    pub minutes: u32,
    /// Ways to install it other than a build, a line each.
    pub hint: &'static str,
}

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// The variable names something that is no program.
    #[error("{variable} names {path}, which is no file")]
    Named {
        /// The variable.
        variable: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// The program is in a folder that the server's account can not enter.
    #[error(
        "the unprivileged account of servers can not reach {path}; put it into /usr/local/bin or name another with {variable}"
    )]
    Unreachable {
        /// Where it is.
        path: PathBuf,
        /// What names another one.
        variable: &'static str,
    },
    /// The program is not there, and neither is what builds it.
    #[error(
        "{name} was not found in {variable}, on the PATH or in .run/bin, and to build it {go}.\n  \
         Linux:    https://go.dev/dl/ unpacked into /usr/local (Debian 12's golang-go is too old)\n  \
         Fedora:   sudo dnf install golang\n  \
         macOS:    brew install go\n  \
         {hint}"
    )]
    NoGo {
        /// The program.
        name: &'static str,
        /// What names it.
        variable: &'static str,
        /// What is wrong with the Go found.
        go: String,
        /// Other ways.
        hint: &'static str,
    },
    /// A file could not be prepared, or Go not be run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Go said no.
    #[error("go could not build {name}: {output}")]
    Failed {
        /// The program.
        name: &'static str,
        /// The end of what it printed.
        output: String,
    },
}

impl Program {
    /// Finds the program, and builds it where it is not.
    ///
    /// # Errors
    /// As [`Self::find`] and [`Self::build`].
    pub async fn obtain(&self) -> Result<PathBuf, ProgramError> {
        match self.find()? {
            Some(path) => Ok(path),
            None => self.build(&[]).await,
        }
    }

    /// Looks in the program's variable, on the `PATH`, in `.run/bin` and among those built before.
    ///
    /// # Errors
    /// Fails when what is named is no file, or the account of servers can not reach it.
    pub fn find(&self) -> Result<Option<PathBuf>, ProgramError> {
        let named = env::var_os(self.variable).map(PathBuf::from);
        if let Some(path) = named.as_ref().filter(|path| !path.is_file()) {
            return Err(ProgramError::Named {
                variable: self.variable,
                path: path.clone(),
            });
        }
        let elsewhere = [
            Path::new(HAND_PLACED).join(self.name),
            self.built(&cache_folder()),
        ];
        let found = named
            .or_else(|| on_path(self.name))
            .or_else(|| elsewhere.into_iter().find(|path| path.is_file()));
        found.map(|path| self.reachable(&path)).transpose()
    }

    /// Builds the program, unless that was done before, with `environment` added for Go.
    ///
    /// One process builds at a time; the others wait for what it makes.
    ///
    /// # Errors
    /// Names what is missing with the way to install it, or carries the end of what Go printed.
    pub async fn build(&self, environment: &[(&str, &str)]) -> Result<PathBuf, ProgramError> {
        let find_go = || toolchain::find().map_err(|go| self.no_go(go));
        let path = build::once(self, &cache_folder(), find_go, environment).await?;
        self.reachable(&path)
    }

    /// Returns the folder that a build works in.
    pub(crate) fn folder(&self) -> PathBuf {
        let built = self.built(&cache_folder());
        built.parent().map(Path::to_owned).unwrap_or(built)
    }

    /// Returns where a build puts the program: another module text gives another place.
    fn built(&self, cache: &Path) -> PathBuf {
        let pins = [self.module, self.checksums].concat();
        cache
            .join(format!("{}-{:016x}", self.name, fnv1a(pins.as_bytes())))
            .join(self.name)
    }

    fn reachable(&self, path: &Path) -> Result<PathBuf, ProgramError> {
        // Servers are started from `/`.
        let path = fs::canonicalize(path).map_err(LaunchError::preparing(path))?;
        match Account::for_servers() {
            Some(account) if !account.reaches(&path) => Err(ProgramError::Unreachable {
                path,
                variable: self.variable,
            }),
            _ => Ok(path),
        }
    }

    fn no_go(&self, go: String) -> ProgramError {
        ProgramError::NoGo {
            name: self.name,
            variable: self.variable,
            go,
            hint: self.hint,
        }
    }
}

/// Returns the folder that keeps built programs: the user's cache, so that all checkouts share
/// them; for root one that other accounts can enter.
fn cache_folder() -> PathBuf {
    let of = |name: &str| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let users = || {
        of("XDG_CACHE_HOME")
            .or_else(|| of("HOME").map(|home| home.join(".cache")))
            .map(|cache| cache.join("sutazai"))
    };
    let folder = match of(CACHE_VARIABLE) {
        Some(named) => named,
        None if rustix::process::geteuid().is_root() => PathBuf::from("/var/cache/sutazai"),
        None => users().unwrap_or_else(|| PathBuf::from(HAND_PLACED)),
    };
    // Go runs in a folder of its own.
    std::path::absolute(&folder).unwrap_or(folder)
}

#[cfg(test)]
mod tests;
