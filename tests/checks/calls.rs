//! Who calls whom: the catalogue allows what the design draws, and the code asks for no more.

use std::str::FromStr;

use sutazai_mesh::catalog::ServiceName;

use crate::tree::Tree;

use ServiceName::{AgentOrchestrator, AutomationAgent, Backend, OllamaProxy, TaskCoordinator};

/// The call graph of the design. The operator's tool may call all.
const ALLOWED: [(ServiceName, &[ServiceName]); 5] = [
    (Backend, &[TaskCoordinator, AgentOrchestrator, OllamaProxy]),
    (AgentOrchestrator, &[OllamaProxy, TaskCoordinator]),
    (
        AutomationAgent,
        &[OllamaProxy, TaskCoordinator, AgentOrchestrator],
    ),
    (TaskCoordinator, &[]),
    (OllamaProxy, &[]),
];

/// Finds channels that a service opens to one that it may not call.
fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for source in tree.sources() {
        let Ok(from) = ServiceName::from_str(source.name) else {
            continue;
        };
        for (number, line) in source.code() {
            let Some((_, rest)) = line.split_once("channel(ServiceName::") else {
                continue;
            };
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric()).collect();
            let to = ServiceName::ALL
                .into_iter()
                .find(|to| format!("{to:?}") == name);
            if !to.is_some_and(|to| from.may_call(to)) {
                faults.push(format!(
                    "{}:{number} {from} must not call {name}",
                    source.path
                ));
            }
        }
    }
    faults
}

#[test]
fn the_catalogue_allows_what_the_design_draws() {
    for (from, allowed) in ALLOWED {
        for to in ServiceName::ALL
            .into_iter()
            .filter(|to| *to != ServiceName::Cli)
        {
            assert_eq!(from.may_call(to), allowed.contains(&to), "{from} -> {to}");
        }
    }
}

#[test]
fn the_graph_has_no_cycle() {
    fn reaches(from: ServiceName, goal: ServiceName) -> bool {
        ServiceName::ALL
            .into_iter()
            .any(|to| from.may_call(to) && (to == goal || reaches(to, goal)))
    }
    for (name, _) in ALLOWED {
        assert!(!reaches(name, name), "{name} calls itself in the end");
    }
}

#[test]
fn services_open_the_channels_of_the_graph_only() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn a_planted_channel_is_found() {
    let path = "crates/task-coordinator/src/assign.rs";
    let tree = Tree::of([(path, "let edge = mesh.channel(ServiceName::Backend);")]);
    crate::assert_found(&faults(&tree), path);
}
