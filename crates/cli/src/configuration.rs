//! `sutazai config`: the effective configuration of a service, or all its faults at once.

use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::config::{self, Configured, Faults, Reader, Setting, Source, Standalone};

use crate::{args::ConfigArgs, screen::Screen};

/// The configuration of at least one service has faults.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(|(service, faults)| format!("{service}: {faults}")).collect::<Vec<_>>().join("\n"))]
pub struct Error(Vec<(ServiceName, Faults)>);

/// The services that have a configuration.
pub const SERVICES: [ServiceName; 5] = [
    ServiceName::Backend,
    ServiceName::TaskCoordinator,
    ServiceName::AgentOrchestrator,
    ServiceName::OllamaProxy,
    ServiceName::AutomationAgent,
];

/// Prints what the environment says to one service, or to all.
///
/// # Errors
/// Every fault of every service that was asked for.
pub fn command(args: &ConfigArgs, screen: &Screen) -> Result<(), Error> {
    let source = Source::process();
    let mut faults = Vec::new();
    for service in SERVICES
        .into_iter()
        .filter(|name| args.service.is_none_or(|asked| asked == *name))
    {
        match effective(service, &source) {
            Ok(settings) => print(service, &settings, screen),
            Err(found) => faults.push((service, found)),
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Error(faults))
    }
}

/// Lists every setting that a service may read, whatever the environment says.
pub fn settings(service: ServiceName) -> Vec<Setting> {
    fn of<C: Configured>() -> Vec<Setting> {
        // The parts of an address are asked for only where its host is given.
        let in_parts = Source::from_pairs(
            ["POSTGRES_HOST", "RABBITMQ_HOST", "REDIS_HOST"].map(|host| (host, "-")),
        );
        let mut all: Vec<Setting> = Vec::new();
        for (source, always) in [(Source::default(), true), (in_parts, false)] {
            let mut reader = Reader::new(&source);
            // Without settings the configuration is incomplete; only what was asked for counts here.
            let _ = Standalone::<C>::read(&mut reader);
            for setting in reader.settings() {
                if all.iter().all(|known| known.name != setting.name) {
                    // What is asked for in one case only is never required by itself.
                    let required = setting.required && always;
                    all.push(Setting {
                        required,
                        ..setting.clone()
                    });
                }
            }
        }
        all
    }
    match service {
        ServiceName::Backend => of::<backend::Config>(),
        ServiceName::TaskCoordinator => of::<task_coordinator::Config>(),
        ServiceName::AgentOrchestrator => of::<agent_orchestrator::Config>(),
        ServiceName::OllamaProxy => of::<ollama_proxy::Config>(),
        ServiceName::AutomationAgent => of::<automation_agent::Config>(),
        ServiceName::Cli => Vec::new(),
    }
}

fn effective(service: ServiceName, source: &Source) -> Result<Vec<Setting>, Faults> {
    fn of<C: Configured>(source: &Source) -> Result<Vec<Setting>, Faults> {
        Ok(config::load::<Standalone<C>>(source)?.settings)
    }
    match service {
        ServiceName::Backend => of::<backend::Config>(source),
        ServiceName::TaskCoordinator => of::<task_coordinator::Config>(source),
        ServiceName::AgentOrchestrator => of::<agent_orchestrator::Config>(source),
        ServiceName::OllamaProxy => of::<ollama_proxy::Config>(source),
        ServiceName::AutomationAgent => of::<automation_agent::Config>(source),
        ServiceName::Cli => Ok(Vec::new()),
    }
}

fn print(service: ServiceName, settings: &[Setting], screen: &Screen) {
    if !screen.is_json() {
        screen.line(screen.bold(service.as_str()));
    }
    for setting in settings {
        let value = setting.value_shown.as_deref();
        if screen.is_json() {
            screen.event(&serde_json::json!({
                "service": service.as_str(), "name": setting.name, "value": value, "doc": setting.doc,
            }));
        } else {
            screen.line(format!(
                "  {:<28} {}",
                setting.name,
                value.unwrap_or("(not set)")
            ));
        }
    }
}
