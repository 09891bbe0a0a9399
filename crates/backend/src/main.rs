//! backend as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    sutazai_runtime::main(backend::Config::build)
}
