//! The `sutazai` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sutazai_cli::main()
}
