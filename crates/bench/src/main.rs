//! The `bench` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    sutazai_bench::main()
}
