//! The services of the platform and the call graph between them.

use std::{fmt, str::FromStr};

/// Names a process of the platform.
///
/// The text is the same everywhere: directory, package, registry, container and log field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceName {
    /// Public HTTP API.
    Backend,
    /// Agents, their runs and tools.
    AgentOrchestrator,
    /// Durable tasks.
    TaskCoordinator,
    /// The model fleet.
    OllamaProxy,
    /// The agent known as jarvis.
    AutomationAgent,
    /// The operator's tool: it calls and is never called.
    Cli,
}

impl ServiceName {
    /// All names.
    pub const ALL: [Self; 6] = [
        Self::Backend,
        Self::AgentOrchestrator,
        Self::TaskCoordinator,
        Self::OllamaProxy,
        Self::AutomationAgent,
        Self::Cli,
    ];

    /// Returns the text of the name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::AgentOrchestrator => "agent-orchestrator",
            Self::TaskCoordinator => "task-coordinator",
            Self::OllamaProxy => "ollama-proxy",
            Self::AutomationAgent => "automation-agent",
            Self::Cli => "cli",
        }
    }

    /// Tells whether this is an agent: it takes work from a queue and belongs to no call path.
    pub fn is_agent(self) -> bool {
        matches!(self, Self::AutomationAgent)
    }

    /// Tells whether this service may call `to`: the call graph, without a cycle.
    ///
    /// `platform.v1.Diagnostics` is outside the graph: everybody may ask everybody.
    pub fn may_call(self, to: Self) -> bool {
        match self {
            Self::Backend => {
                matches!(
                    to,
                    Self::TaskCoordinator | Self::AgentOrchestrator | Self::OllamaProxy
                )
            }
            Self::AgentOrchestrator => matches!(to, Self::OllamaProxy | Self::TaskCoordinator),
            Self::AutomationAgent => {
                matches!(
                    to,
                    Self::OllamaProxy | Self::TaskCoordinator | Self::AgentOrchestrator
                )
            }
            Self::TaskCoordinator | Self::OllamaProxy => false,
            Self::Cli => to != Self::Cli,
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ServiceName {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|name| name.as_str() == text);
        found.ok_or_else(|| UnknownService(text.to_owned()))
    }
}

/// The text names no service of the platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a service of the platform")]
pub struct UnknownService(String);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_name_survives_its_text() {
        for name in ServiceName::ALL {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        assert_eq!(
            "backend-api".parse::<ServiceName>(),
            Err(UnknownService("backend-api".to_owned()))
        );
    }

    #[test]
    fn msh_10_the_call_graph_is_what_the_design_says() {
        let edges: BTreeSet<(&str, &str)> = ServiceName::ALL
            .into_iter()
            .flat_map(|from| ServiceName::ALL.map(|to| (from, to)))
            .filter(|(from, to)| from.may_call(*to))
            .map(|(from, to)| (from.as_str(), to.as_str()))
            .collect();
        let designed = BTreeSet::from([
            ("backend", "task-coordinator"),
            ("backend", "agent-orchestrator"),
            ("backend", "ollama-proxy"),
            ("agent-orchestrator", "ollama-proxy"),
            ("agent-orchestrator", "task-coordinator"),
            ("automation-agent", "ollama-proxy"),
            ("automation-agent", "task-coordinator"),
            ("automation-agent", "agent-orchestrator"),
            ("cli", "backend"),
            ("cli", "agent-orchestrator"),
            ("cli", "task-coordinator"),
            ("cli", "ollama-proxy"),
            ("cli", "automation-agent"),
        ]);
        assert_eq!(edges, designed);
    }

    #[test]
    fn msh_10_no_service_can_wait_for_itself() {
        // Takes away who calls nobody that is left, until only a cycle could remain.
        let mut left = ServiceName::ALL.to_vec();
        while let Some(at) = left
            .iter()
            .position(|from| !left.iter().any(|to| from.may_call(*to)))
        {
            left.remove(at);
        }
        assert_eq!(left, [], "these services call each other in a circle");
    }
}
