//! Configuration: one reader, all faults at once, secrets by file.
//!
//! A service describes what it needs by reading it from a [`Reader`]; the reader remembers every
//! setting and every fault, so that one run of a misconfigured process names all of them.

mod advertise;
mod base;
mod database;
mod fault;
mod links;
mod mask;
mod reader;
mod redis;
mod secret;
mod setting;
mod source;
mod standalone;
mod url;

use std::{fmt, str::FromStr};

use sutazai_mesh::catalog::ServiceName;

use crate::entry::Need;

pub use advertise::Advertise;
pub use base::Base;
pub use database::database;
pub use fault::{Fault, Faults};
pub use links::{Links, RegistryLink};
pub use reader::Reader;
pub(crate) use redis::redis;
pub use secret::Strength;
pub use setting::{Loaded, Setting};
pub use source::Source;
pub use standalone::Standalone;
pub use url::UrlParts;

/// How strict a process is with what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// One machine, one developer: secrets by value are accepted with a warning.
    Dev,
    /// Everything else, and the default.
    Production,
}

impl Profile {
    /// Name of the setting that chooses the profile.
    pub const SETTING: &'static str = "SUTAZAI_PROFILE";

    /// Returns the text of the profile.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Production => "production",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Dev, Self::Production]
            .into_iter()
            .find(|profile| profile.as_str() == text)
            .ok_or(UnknownProfile)
    }
}

/// The text names no [`Profile`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is neither `dev` nor `production`")]
pub struct UnknownProfile;

/// The configuration of one service.
pub trait Configured: Sized {
    /// Whose configuration it is.
    const SERVICE: ServiceName;
    /// Whether the service sends or takes messages; one that does not is asked for no broker.
    const USES_BROKER: bool = true;
    /// Whether the service shares a cache with its replicas; one that does not is asked for no Redis.
    const USES_CACHE: bool = false;

    /// Reads every setting of the service.
    ///
    /// Answers `None` when a required one is missing; the reader then holds the fault. Read all
    /// settings before giving up, or their faults stay hidden until the next attempt.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    /// Lists what the service needs from outside besides the links of every process, for
    /// `--selfcheck`.
    fn needs(&self) -> Vec<Need> {
        Vec::new()
    }
}

/// Reads the configuration of a service from `source`.
///
/// # Errors
///
/// Names every missing or invalid setting at once.
pub fn load<C: Configured>(source: &Source) -> Result<Loaded<C>, Faults> {
    let mut reader = Reader::new(source);
    let config = C::read(&mut reader);
    reader.finish(config)
}
