//! agent-orchestrator as a process of its own.

use std::process::ExitCode;

fn main() -> ExitCode {
    sutazai_runtime::main(agent_orchestrator::Config::build)
}
