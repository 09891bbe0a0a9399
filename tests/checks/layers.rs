//! A crate may use lower layers only; a neighbour's offer is handed in by the service.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

/// The layer of each workspace package. A dependency needs a lower layer on its other end.
const LAYERS: [(&str, u8); 20] = [
    ("sutazai-proto", 0),
    ("sutazai-telemetry", 0),
    ("sutazai-resilience", 0),
    ("sutazai-mesh", 1),
    ("sutazai-messaging", 1),
    ("sutazai-persistence", 1),
    ("sutazai-runtime", 2),
    ("sutazai-auth", 2),
    ("sutazai-gateway", 2),
    // Calls services under an identity, so it stands above `auth`.
    ("sutazai-agent-kit", 3),
    ("backend", 4),
    ("agent-orchestrator", 4),
    ("task-coordinator", 4),
    ("ollama-proxy", 4),
    ("automation-agent", 4),
    ("sutazai-servers", 4),
    ("sutazai-testkit", 4),
    ("sutazai-cli", 5),
    ("sutazai-bench", 6),
    ("system-tests", 6),
];
/// Neither a service nor a library: they stand for foreign systems.
const DEVELOPMENT: [&str; 2] = ["sutazai-servers", "sutazai-testkit"];
/// Packages that may use development packages outside tests.
const USE_DEVELOPMENT: [&str; 3] = ["sutazai-cli", "sutazai-bench", "system-tests"];

/// Judges edges `(from, to)` between workspace packages.
fn faults(edges: &[(String, String)]) -> Vec<String> {
    let layers: BTreeMap<_, _> = LAYERS.into();
    let judge = |from: &str, to: &str| -> Option<String> {
        let (Some(above), Some(below)) = (layers.get(from), layers.get(to)) else {
            return Some(format!("{from} -> {to}: a package without a layer"));
        };
        if below >= above {
            return Some(format!(
                "{from} (layer {above}) must not use {to} (layer {below})"
            ));
        }
        let foreign = DEVELOPMENT.contains(&to) && !USE_DEVELOPMENT.contains(&from);
        foreign.then(|| format!("{from} must use {to} in tests only"))
    };
    edges
        .iter()
        .filter_map(|(from, to)| judge(from, to))
        .collect()
}

/// Reads the normal dependencies between workspace packages.
fn edges() -> Vec<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo metadata runs");
    let metadata: Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages").clone();
    let ours: Vec<String> = packages.iter().map(|p| text(&p["name"])).collect();
    let edge = |package: &Value, dependency: &Value| {
        let normal = dependency["kind"].is_null();
        let to = text(&dependency["name"]);
        (normal && ours.contains(&to)).then(|| (text(&package["name"]), to))
    };
    let of = |package: &Value| -> Vec<_> {
        let dependencies = package["dependencies"].as_array().expect("dependencies");
        dependencies
            .iter()
            .filter_map(|dependency| edge(package, dependency))
            .collect()
    };
    packages.iter().flat_map(of).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn crates_use_lower_layers_only() {
    let edges = edges();
    assert!(
        edges.len() > 20,
        "the workspace has more edges than {}",
        edges.len()
    );
    crate::assert_none(&faults(&edges));
}

#[test]
fn every_package_has_a_layer() {
    let named: Vec<_> = LAYERS.iter().map(|(name, _)| *name).collect();
    let unknown: Vec<_> = edges()
        .into_iter()
        .map(|(from, _)| from)
        .filter(|from| !named.contains(&from.as_str()))
        .collect();
    crate::assert_none(&unknown);
}

#[test]
fn planted_edges_are_found() {
    let edge = |from: &str, to: &str| vec![(from.to_owned(), to.to_owned())];
    crate::assert_found(
        &faults(&edge("sutazai-mesh", "sutazai-messaging")),
        "must not use",
    );
    crate::assert_found(
        &faults(&edge("backend", "task-coordinator")),
        "must not use",
    );
    crate::assert_found(&faults(&edge("backend", "sutazai-cli")), "must not use");
    crate::assert_found(&faults(&edge("sutazai-cli", "stranger")), "without a layer");
}
