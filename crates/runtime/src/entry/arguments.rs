//! What can be said on the command line of a service.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{CommandFactory, FromArgMatches, Parser};
use serde_json::json;
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::status::chain;

use super::EntryError;
use crate::config::{Fault, Faults};

/// Arguments of a service.
#[derive(Clone, Copy, Debug, Parser)]
#[command(
    version,
    about = "A service of the platform. Its settings come from the environment.",
    after_help = "The exit code is 78 when settings are missing or invalid; all of them are named at once."
)]
pub(super) struct Arguments {
    /// Verify the settings and reach every dependency once, print the evidence, and end.
    #[arg(long)]
    pub(super) selfcheck: bool,
    /// Print results as JSON, one document a line.
    #[arg(long)]
    pub(super) json: bool,
}

impl Arguments {
    /// Reads the arguments, the program's own name first.
    pub(super) fn parse(
        service: ServiceName,
        arguments: impl IntoIterator<Item = OsString>,
    ) -> Result<Self, clap::Error> {
        let command = Self::command().name(service.as_str());
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }

    /// Says why the process does not work, and returns its exit code.
    pub(super) fn refuse(self, service: ServiceName, error: &EntryError) -> ExitCode {
        let (code, faults) = match error {
            EntryError::Configuration(faults) => (Faults::EXIT_CODE, faults.as_slice()),
            _ => (1, &[][..]),
        };
        if self.json {
            let fault = |Fault { name, rule, place }: &Fault| json!({"name": name, "rule": rule, "where": place});
            let faults: Vec<_> = faults.iter().map(fault).collect();
            let document = json!({
                "service": service.as_str(), "ok": false, "error": chain(error), "faults": faults,
            });
            print(&document.to_string());
        } else {
            // Nobody is left to tell when standard error is closed.
            let _ = writeln!(io::stderr().lock(), "{service}: {}", chain(error));
        }
        ExitCode::from(code)
    }
}

/// Prints what the arguments themselves asked for, such as the help, or what is wrong with them.
pub(super) fn answered(answer: &clap::Error) -> ExitCode {
    let _ = answer.print();
    // Help and version are "errors" that go to standard output and end well.
    ExitCode::from(u8::from(answer.use_stderr()) * 2)
}

/// Prints a line of the result.
pub(super) fn print(line: &str) {
    // A reader that went away (`| head`) is no fault of ours.
    let _ = writeln!(io::stdout().lock(), "{line}");
}
