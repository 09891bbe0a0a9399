//! A declarative configuration, judged as a whole and laid side by side.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{entity, schema::Schemas};

/// Kinds of entities: the field that names one, the field by which others refer to it (none where
/// nobody does), and the kinds that may stand inside.
const KINDS: [(&str, &str, &str, &[&str]); 7] = [
    ("services", "name", "service", &["routes", "plugins"]),
    ("routes", "name", "route", &["plugins"]),
    ("upstreams", "name", "upstream", &["targets"]),
    ("targets", "target", "", &[]),
    (
        "consumers",
        "username",
        "consumer",
        &["jwt_secrets", "plugins"],
    ),
    ("jwt_secrets", "key", "", &[]),
    ("plugins", "name", "", &[]),
];
const VERSIONS: [&str; 3] = ["1.1", "2.1", "3.0"];

/// Judges a configuration and returns its entities side by side, with ids and defaults.
///
/// # Errors
/// What is wrong, in the form in which Kong says it.
pub(super) fn load(schemas: &Schemas, document: &Value) -> Result<Value, Value> {
    let Some(top) = document.as_object() else {
        let error = "failed parsing declarative configuration: expected an object";
        return Err(json!({ "error": error }));
    };
    let mut loading = Loading {
        schemas,
        entities: Vec::new(),
        names: BTreeSet::new(),
        given: BTreeMap::new(),
    };
    let mut errors = Map::new();
    match top.get("_format_version").and_then(Value::as_str) {
        None => {
            errors.insert(
                "_format_version".to_owned(),
                json!("required field missing"),
            );
        }
        Some(version) if !VERSIONS.contains(&version) => {
            let expected = format!("expected one of: {}", VERSIONS.join(", "));
            errors.insert("_format_version".to_owned(), json!(expected));
        }
        Some(_) => {}
    }
    for (kind, list) in top.iter().filter(|(kind, _)| !kind.starts_with('_')) {
        if let Err(error) = loading.list(kind, list, None) {
            errors.insert(kind.clone(), error);
        }
    }
    if errors.is_empty() {
        loading.check_references(&mut errors);
    }
    if errors.is_empty() {
        Ok(loading.finish())
    } else {
        Err(Value::Object(errors))
    }
}

struct Loading<'a> {
    schemas: &'a Schemas,
    entities: Vec<(String, Map<String, Value>)>,
    /// Kind and name of each entity.
    names: BTreeSet<(String, String)>,
    /// Names of the entities that came with an id.
    given: BTreeMap<String, String>,
}

impl Loading<'_> {
    /// Judges a list of entities, and those inside them with a reference to where they were.
    fn list(&mut self, kind: &str, list: &Value, owner: Option<(&str, &str)>) -> Result<(), Value> {
        if !KINDS.iter().any(|(name, ..)| *name == kind) {
            return Err(json!("unknown field"));
        }
        let list = list.as_array().ok_or_else(|| json!("expected an array"))?;
        let judged: Vec<_> = list
            .iter()
            .map(|entity| self.one(kind, entity, owner).err())
            .collect();
        if judged.iter().all(Option::is_none) {
            return Ok(());
        }
        let errors = judged.into_iter().map(Option::unwrap_or_default);
        Err(Value::Array(errors.collect()))
    }

    fn one(
        &mut self,
        kind: &str,
        entity: &Value,
        owner: Option<(&str, &str)>,
    ) -> Result<(), Value> {
        let (_, key, _, inside) = kind_of(kind);
        let mut entity = entity
            .as_object()
            .cloned()
            .ok_or_else(|| json!("expected a record"))?;
        if let Some((field, name)) = owner {
            entity.insert(field.to_owned(), json!(name));
        }
        let inner: Vec<_> = inside
            .iter()
            .filter_map(|inner| Some((*inner, entity.remove(*inner)?)))
            .collect();
        let (judged, mut errors) = match entity::judge(self.schemas, kind, &entity) {
            Ok(judged) => (judged, Map::new()),
            Err(errors) => (Map::new(), errors),
        };
        let name = entity
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        if let Some(id) = entity.get("id").and_then(Value::as_str) {
            self.given.insert(id.to_owned(), name.clone());
        }
        for (inner, list) in inner {
            if let Err(error) = self.list(inner, &list, Some((kind_of(kind).2, &name))) {
                errors.insert(inner.to_owned(), error);
            }
        }
        if !errors.is_empty() {
            return Err(Value::Object(errors));
        }
        if !self
            .names
            .insert((kind.to_owned(), identity(kind, key, &judged)))
        {
            return Err(json!(format!(
                "uniqueness violation: '{kind}' entity with {key} set to '{name}' already declared"
            )));
        }
        self.entities.push((kind.to_owned(), judged));
        Ok(())
    }

    /// Every reference leads to an entity.
    fn check_references(&self, errors: &mut Map<String, Value>) {
        for (kind, entity) in &self.entities {
            for (of, _, field, _) in KINDS {
                let Some(name) = entity.get(field).and_then(referred) else {
                    continue;
                };
                let name = self.given.get(name).map_or(name, String::as_str);
                if !self.names.contains(&(of.to_owned(), name.to_owned())) {
                    let why =
                        format!("invalid reference '{field}: {name}' (no such entry in '{of}')");
                    errors.insert(kind.clone(), json!({ field: why }));
                }
            }
        }
    }

    /// Lays the entities side by side; ids take the place of names.
    fn finish(self) -> Value {
        let mut all = json!({ "_format_version": "3.0", "_transform": false });
        for (kind, mut entity) in self.entities {
            let (_, key, ..) = kind_of(&kind);
            let own = id(&kind, &identity(&kind, key, &entity));
            for (of, _, field, _) in KINDS {
                if let Some(name) = entity.get(field).and_then(referred) {
                    let name = self.given.get(name).map_or(name, String::as_str);
                    entity.insert(field.to_owned(), json!(id(of, name)));
                }
            }
            entity.insert("id".to_owned(), json!(own));
            entity.insert("created_at".to_owned(), json!(1_700_000_000));
            if all[&kind].is_null() {
                all[&kind] = json!([]);
            }
            if let Some(list) = all[&kind].as_array_mut() {
                list.push(Value::Object(entity));
            }
        }
        all
    }
}

fn kind_of(
    kind: &str,
) -> (
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
) {
    let found = KINDS.into_iter().find(|(name, ..)| *name == kind);
    found.unwrap_or(KINDS[KINDS.len() - 1])
}

/// Returns what no other entity of its kind may be: its name, for plugins and targets within what
/// they belong to.
fn identity(kind: &str, key: &str, entity: &Map<String, Value>) -> String {
    let name = entity.get(key).and_then(Value::as_str).unwrap_or_default();
    let scope: Vec<_> = ["service", "route", "consumer", "upstream"]
        .iter()
        .filter_map(|field| entity.get(*field).and_then(referred))
        .collect();
    match kind {
        "plugins" | "targets" => format!("{name} of {}", scope.join(",")),
        _ => name.to_owned(),
    }
}

/// A reference is a name, or an object with a name or an id.
fn referred(value: &Value) -> Option<&str> {
    match value {
        Value::Object(object) => object.get("name").or_else(|| object.get("id"))?.as_str(),
        other => other.as_str(),
    }
}

/// Makes an id that is the same for the same entity, as Kong does.
fn id(kind: &str, identity: &str) -> String {
    // FNV-1a, twice.
    let hash = |seed: u64| {
        format!("{kind}:{identity}")
            .bytes()
            .fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
            })
    };
    let (a, b) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
    format!(
        "{:08x}-{:04x}-5{:03x}-8{:03x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        (b >> 52) & 0xfff,
        b & 0xffff_ffff_ffff
    )
}
