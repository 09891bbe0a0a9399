//! `sutazai up`, `down`, `logs`: the services as processes of their own over real servers.
//!
//! A supervisor in the background holds all processes and starts again what ends. The command that
//! began it returns when everything takes work.

mod board;
mod card;
mod down;
mod gateway;
mod keeper;
mod launch;
mod logs;
mod nodes;
mod plan;
mod ports;
mod registry;
mod servers;
mod services;
mod supervisor;

use std::{io, path::PathBuf};

use sutazai_mesh::registry::{RegistryError, consul};
use sutazai_proto::status::chain;

use crate::{enroll, gateway::Error as GatewayError, site};

pub use down::command as down;
pub use launch::command as up;
pub use logs::command as logs;
pub use plan::StartError;
pub use supervisor::command as supervise;

/// Name of the database's process.
const POSTGRES: &str = "postgres";
/// Folder below the state folder of the platform that holds the logs.
const LOGS: &str = "logs";
/// Name of the supervisor's own log.
const SUPERVISOR: &str = "supervisor";

/// Why the platform did not start or stop, or has no logs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to stand on.
    #[error(transparent)]
    Site(#[from] site::Error),
    /// Somebody else listens on a documented port.
    #[error(
        "port {port}, where {what} is documented to be, is taken: stop what listens there, or take free \
         ports with `sutazai up --free-ports`"
    )]
    PortTaken {
        /// What should listen there.
        what: &'static str,
        /// The port.
        port: u16,
        /// What the system said.
        source: io::Error,
    },
    /// A server or service can not be started.
    #[error("{name} does not start: {}", chain(source.as_ref()))]
    Start {
        /// Its name.
        name: String,
        /// Why not.
        source: Box<StartError>,
    },
    /// A service ended before the platform was ready.
    #[error("{name} ended before it took work; the end of {log}:\n{tail}")]
    Ended {
        /// Its name.
        name: String,
        /// Its log.
        log: PathBuf,
        /// The end of it.
        tail: String,
    },
    /// The configuration of the gateway can not be rendered.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// The image of the gateway can not be had.
    #[error("the Docker engine can not fetch {image}")]
    Image {
        /// Its name.
        image: String,
        /// What the engine said.
        source: io::Error,
    },
    /// Services did not take work in time.
    #[error("not ready after {seconds} s: {waiting}; their logs are in {logs}")]
    Late {
        /// How long we waited.
        seconds: u64,
        /// What was still missing.
        waiting: String,
        /// The folder with the logs.
        logs: PathBuf,
    },
    /// The registry can not be asked.
    #[error("can not ask the registry")]
    Registry(#[source] consul::InvalidSettings),
    /// What a killed platform left in the registry is still there.
    #[error("can not take out of the registry what a killed platform left")]
    Sweep(#[source] RegistryError),
    /// A token of the registry can not be read.
    #[error(transparent)]
    Rights(#[from] enroll::Error),
    /// The supervisor can not be started or read.
    #[error("can not run the supervisor")]
    Supervisor(#[source] io::Error),
    /// The supervisor said why it gave up.
    #[error("{0}")]
    GaveUp(String),
    /// The supervisor ended without a word.
    #[error("the supervisor ended before the platform was ready; its log is {log}")]
    Silent {
        /// Its log.
        log: PathBuf,
    },
    /// No platform was ever started on the folder, or no part of it has this name.
    #[error("no log of {what} in {folder}")]
    NoLog {
        /// What was asked for.
        what: String,
        /// Where the logs are.
        folder: PathBuf,
    },
    /// A file can not be read.
    #[error("can not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}
