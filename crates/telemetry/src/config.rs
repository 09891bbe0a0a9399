//! What a process says about its own telemetry.

use std::{fmt, io::IsTerminal, str::FromStr};

use crate::Traces;

/// Our own crates at `info`, foreign ones only when something is wrong.
pub const DEFAULT_FILTER: &str = "info,consulrs=warn,h2=warn,hyper=warn,hyper_util=warn,rustls=warn,\
                                  sqlx=warn,tonic=warn,tower=warn";

/// How a process reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Form of the log lines.
    pub format: Format,
    /// Level per target, in the syntax of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// What becomes of spans.
    pub traces: Traces,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// [`Human`](Self::Human) on a terminal, else [`Json`](Self::Json).
    #[default]
    Auto,
    /// One JSON object a line, on standard output.
    Json,
    /// Readable lines on standard error.
    Human,
}

/// The text is no [`Format`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected auto, json or human")]
pub struct UnknownFormat;

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::default(),
            filter: DEFAULT_FILTER.to_owned(),
            traces: Traces::default(),
        }
    }
}

impl Format {
    /// Returns whether lines are JSON here and now.
    pub(crate) fn is_json(self) -> bool {
        match self {
            Self::Auto => !std::io::stderr().is_terminal(),
            Self::Json => true,
            Self::Human => false,
        }
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "json" => Ok(Self::Json),
            "human" => Ok(Self::Human),
            _ => Err(UnknownFormat),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Human => "human",
        })
    }
}
