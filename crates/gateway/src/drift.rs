//! Whether what a Kong has loaded is what this program wrote.
//!
//! A Kong answers with ids, times and defaults that nobody wrote, and with entities side by side
//! instead of inside one another. Both sides are brought into one form; then every field counts.

mod defaults;
mod flat;

use std::{collections::BTreeSet, fmt};

use serde::Serialize;
use serde_json::Value;

pub use self::flat::NotEntities;

/// A difference between what was written and what is loaded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// Kind and name of the entity.
    pub entity: String,
    /// The field; none when the whole entity is on one side only.
    pub field: Option<String>,
    /// What was written.
    pub written: Option<Value>,
    /// What is loaded.
    pub loaded: Option<Value>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            entity,
            field,
            written,
            loaded,
        } = self;
        match (field, written, loaded) {
            (None, Some(_), _) => write!(f, "{entity} is not loaded"),
            (None, None, _) => write!(f, "{entity} is loaded and was never written"),
            (Some(field), Some(written), Some(loaded)) => {
                write!(f, "{entity}: {field} is {loaded}, written was {written}")
            }
            (Some(field), Some(written), None) => {
                write!(f, "{entity}: {field} is missing, written was {written}")
            }
            (Some(field), None, loaded) => {
                let loaded = loaded.clone().unwrap_or_default();
                write!(f, "{entity}: {field} is {loaded} and was never written")
            }
        }
    }
}

/// Compares two configurations, each in the form of a file or of a Kong's answer.
///
/// # Errors
/// [`NotEntities`] when one of them is no declarative configuration.
pub fn compare(written: &Value, loaded: &Value) -> Result<Vec<Difference>, NotEntities> {
    let defaults = defaults::Defaults::new();
    let written = flat::entities(written, &defaults)?;
    let loaded = flat::entities(loaded, &defaults)?;
    let names: BTreeSet<_> = written.keys().chain(loaded.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        match (written.get(name), loaded.get(name)) {
            (Some(a), Some(b)) => differences.extend(fields(name, a, b)),
            (a, b) => differences.push(Difference {
                entity: name.clone(),
                field: None,
                written: a.map(|fields| Value::Object(fields.clone())),
                loaded: b.map(|fields| Value::Object(fields.clone())),
            }),
        }
    }
    Ok(differences)
}

fn fields(entity: &str, written: &flat::Fields, loaded: &flat::Fields) -> Vec<Difference> {
    let names: BTreeSet<_> = written.keys().chain(loaded.keys()).collect();
    names
        .into_iter()
        .filter(|name| written.get(*name) != loaded.get(*name))
        .filter(|name| written.contains_key(*name) || !flat::may_be_made_up(entity, name))
        .map(|name| Difference {
            entity: entity.to_owned(),
            field: Some(name.clone()),
            written: written.get(name).cloned(),
            loaded: loaded.get(name).cloned(),
        })
        .collect()
}
