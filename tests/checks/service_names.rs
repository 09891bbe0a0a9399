//! A service's name comes from the enum, never from a string of its own.

use std::str::FromStr;

use sutazai_mesh::catalog::ServiceName;

use crate::tree::Tree;

/// Where such a string is right.
const ALLOWED: [(&str, &str); 1] = [("crates/mesh/src/catalog.rs", "the enum itself")];

fn faults(tree: &Tree) -> Vec<String> {
    let mut faults = Vec::new();
    for source in tree
        .sources()
        .filter(|source| !ALLOWED.iter().any(|(path, _)| source.path == *path))
    {
        for (number, line) in source.code() {
            let literals = line.split('"').skip(1).step_by(2);
            // `backend` is a database schema and a role too; the hyphenated names are nothing else.
            let named = literals
                .filter(|text| text.contains('-'))
                .find(|text| ServiceName::from_str(text).is_ok());
            if let Some(name) = named {
                faults.push(format!(
                    "{}:{number} spells {name}; take it from ServiceName",
                    source.path
                ));
            }
        }
    }
    faults
}

#[test]
fn services_are_named_by_the_enum_only() {
    crate::assert_none(&faults(&crate::repository()));
}

#[test]
fn a_planted_name_is_found() {
    let path = "crates/backend/src/tasks.rs";
    let tree = Tree::of([(path, "let name = \"task-coordinator\";")]);
    crate::assert_found(&faults(&tree), path);
}
