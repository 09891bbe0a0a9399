//! What was read: the configuration and the list of its settings.

use std::fmt::Write;

use tracing::{info, warn};

/// One setting as the process sees it; never the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Name of the environment variable.
    pub name: &'static str,
    /// What it is for, with its unit.
    pub doc: &'static str,
    /// Value when it is not set.
    pub default: Option<String>,
    /// Whether its value is kept secret; it can then come from a file named by `<name>_FILE`.
    pub secret: bool,
    /// Whether the service refuses to start without it.
    pub required: bool,
    /// The effective value, for a secret only how it was given; absent when nothing is set.
    pub value_shown: Option<String>,
}

/// A configuration with the list of settings that made it.
#[derive(Clone, Debug)]
pub struct Loaded<C> {
    /// The configuration.
    pub config: C,
    /// Every setting that was asked for, in the order of reading.
    pub settings: Vec<Setting>,
    /// What is accepted and should still be changed, for example a secret given by value.
    pub warnings: Vec<String>,
}

impl<C> Loaded<C> {
    /// Renders the effective configuration, one `NAME=value` a line, without secrets.
    pub fn effective(&self) -> String {
        let mut text = String::new();
        for setting in &self.settings {
            let value = setting.value_shown.as_deref().unwrap_or("(not set)");
            // Writing to a String can not fail.
            let _ = writeln!(text, "{}={value}", setting.name);
        }
        text
    }

    /// Logs the effective configuration and the warnings, without secrets.
    pub fn log(&self) {
        for warning in &self.warnings {
            warn!("{warning}");
        }
        info!(settings = self.effective(), "configuration read");
    }
}
