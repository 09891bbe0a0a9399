//! `sutazai dev`: the whole platform in one process, over a real Postgres.

pub mod platform;

use std::io::{self, IsTerminal};

use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::{config::Source, lifecycle::Shutdown};

use crate::{
    EXIT_CONFIG,
    args::DevArgs,
    screen::Screen,
    site::{self, card},
};

pub use platform::{Options, Platform};

/// An error of some service, of whatever kind.
pub type ServiceError = Box<dyn std::error::Error + Send + Sync>;

/// Why the platform did not start or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing to stand on.
    #[error(transparent)]
    Site(#[from] site::Error),
    /// The settings of a service have faults.
    #[error("the configuration of {service} has faults")]
    Configuration {
        /// The service.
        service: ServiceName,
        /// All of them.
        source: sutazai_runtime::config::Faults,
    },
    /// A service could not be built.
    #[error("can not build {service}")]
    Build {
        /// The service.
        service: ServiceName,
        /// Why not.
        source: ServiceError,
    },
    /// A service ended by itself.
    #[error("{service} ended unexpectedly")]
    Ended {
        /// The service.
        service: ServiceName,
        /// Why, where it said so.
        source: Option<ServiceError>,
    },
    /// A service did not take work in time.
    #[error("not ready after {seconds} s: {waiting}")]
    Late {
        /// How long we waited.
        seconds: u64,
        /// What was still missing.
        waiting: String,
    },
}

impl Error {
    /// Returns the exit code of the process.
    pub fn exit_code(&self) -> u8 {
        if matches!(self, Self::Configuration { .. }) {
            EXIT_CONFIG
        } else {
            1
        }
    }
}

/// Reads `RUST_LOG`, `LOG_FORMAT` (`auto`, `json`, `human`) and `OTEL_*`. On a terminal the progress speaks, so
/// only what is wrong is logged there; elsewhere JSON lines tell the whole story.
fn telemetry() -> sutazai_telemetry::Config {
    let terminal = io::stderr().is_terminal();
    let default = if terminal {
        "warn"
    } else {
        sutazai_telemetry::DEFAULT_FILTER
    };
    let format = std::env::var("LOG_FORMAT")
        .ok()
        .and_then(|text| text.parse().ok());
    sutazai_telemetry::Config {
        format: format.unwrap_or_default(),
        filter: std::env::var("RUST_LOG").unwrap_or_else(|_| default.to_owned()),
        traces: sutazai_telemetry::Traces::from_env(|name| std::env::var(name).ok()),
    }
}

/// Runs the platform until a signal or a fault ends it.
///
/// # Errors
/// Why it did not start, or which service ended by itself.
pub async fn command(args: DevArgs, screen: &Screen) -> Result<(), Error> {
    // Without a subscriber the platform still works, so a failure here ends nothing.
    let _telemetry = sutazai_telemetry::init(&telemetry()).ok();

    let shutdown = Shutdown::new();
    let signals = tokio::spawn(sutazai_runtime::lifecycle::signals(shutdown.clone()));
    let options = Options::new(args, Source::process());
    let platform = tokio::select! {
        started = Platform::start(options, screen) => started?,
        () = shutdown.draining() => return Ok(()),
    };
    card::print(platform.description(), screen);

    let outcome = tokio::select! {
        error = platform.failure() => Err(error),
        () = shutdown.draining() => Ok(()),
    };
    let stopping = screen.step("stopping");
    tokio::select! {
        () = platform.stop() => stopping.done("drained, database stopped"),
        () = shutdown.aborted() => screen.note("stopped at once; unfinished tasks go on at the next start"),
    }
    signals.abort();
    outcome
}
