//! automation-agent as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    sutazai_runtime::main(automation_agent::Config::build)
}
