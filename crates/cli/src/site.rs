//! What a platform on this machine stands on, in one process or in many: the state folder with its
//! secrets, the database, the model nodes, and the description of where everything is.

pub mod card;
pub mod database;
pub mod demo_node;
pub mod description;
pub mod folder;
pub mod node;
pub mod secrets;

pub(crate) mod cluster;
mod settings;

use std::{io, path::PathBuf};

use sutazai_auth::keys::KeyError;
use sutazai_persistence::{migrate::MigrateError, provision::ProvisionError};
use sutazai_servers::postgres::StartError;

pub use description::Description;
pub(crate) use settings::Settings;

/// Why a platform has nothing to stand on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state folder can not be used.
    #[error("can not use {path}")]
    Folder {
        /// The folder or file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process works on the folder.
    #[error(
        "another platform (process {pid}) already runs on {folder}: stop it (Ctrl-C where `sutazai dev` \
         runs, `sutazai down` for `sutazai up`), or give this one a folder and ports of its own: \
         --data DIR --port 0 --proxy-port 0"
    )]
    Taken {
        /// The folder.
        folder: PathBuf,
        /// The other process.
        pid: String,
    },
    /// A newer version wrote the folder.
    #[error(
        "{folder} was written by a newer version (layout {found}): use that version, or start afresh \
         with --reset (--backup FILE keeps a dump, with the newer version)"
    )]
    Newer {
        /// The folder.
        folder: PathBuf,
        /// Its layout.
        found: u32,
    },
    /// A secret file can not be read or written.
    #[error("can not keep the secrets")]
    Secrets(#[from] io::Error),
    /// A key can not be made or read.
    #[error("can not prepare the keys")]
    Keys(#[from] KeyError),
    /// The API key can not be made.
    #[error("can not make an API key")]
    ApiKey,
    /// The database does not run.
    #[error(transparent)]
    Server(#[from] StartError),
    /// Roles or database can not be made.
    #[error("can not prepare the database")]
    Provision(#[from] ProvisionError),
    /// A schema can not be brought to this version.
    #[error("can not migrate the database; --reset starts afresh")]
    Migrate(#[from] MigrateError),
    /// The demo node can not listen.
    #[error("can not start the demo node")]
    DemoNode(#[source] io::Error),
}
