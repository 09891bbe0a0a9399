//! `sutazai serve`: one program that is every service, so that a machine needs one file only.

use std::{ffi::OsString, process::ExitCode};

use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::entry;

use crate::args::ServeArgs;

/// Runs a service until a signal or a fault ends it.
pub fn command(args: ServeArgs) -> ExitCode {
    let name = OsString::from(args.service.as_str());
    let arguments = [name].into_iter().chain(args.arguments);
    match args.service {
        ServiceName::Backend => entry::run(arguments, backend::Config::build),
        ServiceName::TaskCoordinator => entry::run(arguments, task_coordinator::Config::build),
        ServiceName::AgentOrchestrator => entry::run(arguments, agent_orchestrator::Config::build),
        ServiceName::OllamaProxy => entry::run(arguments, ollama_proxy::Config::build),
        ServiceName::AutomationAgent => entry::run(arguments, automation_agent::Config::build),
        ServiceName::Cli => crate::run(arguments),
    }
}
