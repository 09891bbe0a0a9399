//! Who may name which foreign package: one home for each kind of connection.

use crate::tree::{Source, Tree};

/// A package, as it is written in a path, with where it may stand.
struct Rule {
    package: &'static str,
    homes: &'static [Home],
}

/// Where a package may stand.
enum Home {
    /// Anywhere in this crate.
    Crate(&'static str),
    /// In modules of this name, `name.rs` or `name/…`, of any crate.
    Module(&'static str),
    /// In this one file.
    File(&'static str),
    /// In the limit programs and peers of the benchmark: the raw client is what ours is compared with.
    Limits,
}

use Home::{Crate, File, Limits, Module};

const RULES: [Rule; 11] = [
    Rule {
        package: "consulrs",
        homes: &[Crate("mesh"), Limits],
    },
    Rule {
        package: "lapin",
        homes: &[Crate("messaging"), Limits],
    },
    Rule {
        package: "redis",
        homes: &[Crate("persistence"), Limits],
    },
    Rule {
        package: "failsafe",
        homes: &[Crate("resilience")],
    },
    Rule {
        package: "opentelemetry",
        homes: &[Crate("telemetry")],
    },
    Rule {
        package: "opentelemetry_sdk",
        homes: &[Crate("telemetry")],
    },
    Rule {
        package: "tracing_opentelemetry",
        homes: &[Crate("telemetry")],
    },
    Rule {
        package: "metrics_exporter_prometheus",
        homes: &[Crate("telemetry")],
    },
    Rule {
        package: "reqwest",
        homes: &[
            Crate("mesh"),
            // Reads the answers of the client that `mesh` makes; clippy forbids it to make one.
            Crate("ollama-proxy"),
        ],
    },
    Rule {
        package: "sqlx",
        homes: &[
            Crate("persistence"),
            Module("store"),
            // Stands for a foreign system.
            Crate("servers"),
            Limits,
        ],
    },
    Rule {
        package: "axum",
        homes: &[
            Crate("runtime"),
            Module("http"),
            // The guard of gRPC routes is a layer on a router.
            File("crates/auth/src/grpc.rs"),
            // Stand for foreign systems.
            Crate("testkit"),
            File("crates/cli/src/site/demo_node.rs"),
            Limits,
        ],
    },
];

impl Home {
    fn holds(&self, source: &Source<'_>) -> bool {
        match self {
            Crate(name) => source.name == *name,
            Module(name) => {
                source.file == format!("{name}.rs") || source.file.starts_with(&format!("{name}/"))
            }
            File(path) => source.path == *path,
            Limits => source.path.starts_with("crates/bench/src/limit/"),
        }
    }
}

fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for source in tree.sources() {
        for rule in RULES
            .iter()
            .filter(|rule| !rule.homes.iter().any(|home| home.holds(&source)))
            .filter(|rule| can_name(tree, source.name, rule.package))
        {
            let named = source.code().find(|(_, line)| names(line, rule.package));
            faults.extend(named.map(|(number, _)| {
                format!(
                    "{}:{number} names {}, which is not its place",
                    source.path, rule.package
                )
            }));
        }
    }
    faults
}

/// Says whether a crate can name a package: it depends on it, or its manifest is not known. A module
/// of the same name, as the starter of a server has, is no package.
fn can_name(tree: &Tree, name: &str, package: &str) -> bool {
    let manifest = tree.text(&format!("crates/{name}/Cargo.toml"));
    manifest.is_none_or(|text| {
        text.lines().any(|line| {
            let key = line.split(['.', ' ', '=']).next().unwrap_or_default();
            key.replace('-', "_") == package
        })
    })
}

/// Says whether a line uses a package: `package::`, not as the end of a longer word or path.
fn names(line: &str, package: &str) -> bool {
    line.match_indices(&format!("{package}::")).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

#[test]
fn packages_stand_in_their_homes_only() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn planted_uses_are_found() {
    for (path, text) in [
        ("crates/backend/src/chat.rs", "use sqlx::PgPool;"),
        (
            "crates/task-coordinator/src/lease.rs",
            "fn f(r: axum::Router) {}",
        ),
        (
            "crates/backend/src/chat.rs",
            "let c = reqwest::Client::new();",
        ),
        ("crates/agent-kit/src/worker.rs", "use lapin::Channel;"),
        ("crates/bench/src/rows/tasks.rs", "use lapin::Channel;"),
    ] {
        crate::assert_found(&faults(&Tree::of([(path, text)])), path);
    }
    // The manifest says which `redis` is meant: the package, or a module of that name.
    let used = ("crates/servers/src/start.rs", "use redis::Client;");
    let depends = |line| Tree::of([used, ("crates/servers/Cargo.toml", line)]);
    for line in [
        "redis.workspace = true",
        "redis = \"1\"",
        "redis={ version = \"1\" }",
    ] {
        crate::assert_found(&faults(&depends(line)), used.0);
    }
    crate::assert_none(&faults(&depends("redis-test = \"1\"")));
    let allowed = Tree::of([
        ("crates/backend/src/store/turns.rs", "use sqlx::PgPool;"),
        ("crates/mesh/src/http.rs", "use reqwest::Client;"),
        ("crates/bench/src/limit/claim.rs", "use sqlx::PgPool;"),
        (
            "crates/backend/src/chat.rs",
            "// sqlx::PgPool is not for here",
        ),
    ]);
    crate::assert_none(&faults(&allowed));
}
