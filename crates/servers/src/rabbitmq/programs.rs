//! Where RabbitMQ's and Erlang's programs are.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::child::on_path;

/// Where distributions put each release, by its version.
const RELEASES: &str = "/usr/lib/rabbitmq/lib";
const SERVER: &str = "rabbitmq-server";
const CTL: &str = "rabbitmqctl";

/// The programs of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    scripts: PathBuf,
    epmd: PathBuf,
}

/// No RabbitMQ on this machine.
#[derive(Debug, thiserror::Error)]
#[error(
    "RabbitMQ's programs (rabbitmq-server, rabbitmqctl, and Erlang's erl and epmd) were not found in RABBITMQ_HOME, in /usr/lib/rabbitmq or on the PATH.\n  \
     Debian, Ubuntu:  sudo apt-get install rabbitmq-server\n  \
     Fedora:          sudo dnf install rabbitmq-server\n  \
     macOS:           brew install rabbitmq\n  \
     elsewhere:       set RABBITMQ_HOME to the folder that holds sbin/rabbitmq-server"
)]
pub struct NotFound;

impl Programs {
    /// Looks in `RABBITMQ_HOME`, in the distributions' folder and on the `PATH`.
    ///
    /// # Errors
    /// Says how to install what is missing.
    pub fn find() -> Result<Self, NotFound> {
        let named = env::var_os("RABBITMQ_HOME").map(|home| Path::new(&home).join("sbin"));
        let linked = on_path(SERVER).and_then(|program| {
            // Homebrew links each program; the real folder has the scripts that they need.
            fs::canonicalize(program).ok()?.parent().map(Path::to_owned)
        });
        let scripts = named
            .into_iter()
            .chain(releases(Path::new(RELEASES)))
            .chain(linked)
            .find(|folder| is_complete(folder))
            .ok_or(NotFound)?;
        on_path("erl").ok_or(NotFound)?;
        let epmd = on_path("epmd").ok_or(NotFound)?;
        Ok(Self {
            // Servers are started from `/`.
            scripts: fs::canonicalize(&scripts).unwrap_or(scripts),
            epmd: std::path::absolute(&epmd).unwrap_or(epmd),
        })
    }

    pub(super) fn server(&self) -> PathBuf {
        self.scripts.join(SERVER)
    }

    pub(super) fn ctl(&self) -> PathBuf {
        self.scripts.join(CTL)
    }

    pub(super) fn epmd(&self) -> &Path {
        &self.epmd
    }
}

/// Says whether a folder holds the real scripts: Debian's wrappers in `/usr/sbin` insist on an
/// account of their own, and stand there without `rabbitmq-env`.
fn is_complete(folder: &Path) -> bool {
    [SERVER, CTL, "rabbitmq-env"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Returns the script folders of all releases, the newest first.
fn releases(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let version = name.strip_prefix("rabbitmq_server-")?;
            let numbers = version.split('.').map(|n| n.parse().unwrap_or(0));
            Some((numbers.collect(), entry.path().join("sbin")))
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
        for version in ["3.9.13", "3.10.8", "4.0.5"] {
            let name = format!("rabbitmq_server-{version}/sbin");
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let expected = ["4.0.5", "3.10.8", "3.9.13"]
            .map(|version| root.path().join(format!("rabbitmq_server-{version}/sbin")));
        assert_eq!(releases(root.path()), expected);
    }

    #[test]
    fn what_is_missing_is_named_with_the_command_that_installs_it() {
        let text = NotFound.to_string();
        assert!(text.contains("apt-get install rabbitmq-server"), "{text}");
    }
}
