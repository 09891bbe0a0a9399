//! One form for every configuration: entities by kind and name, fields by path, no defaults.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::defaults::Defaults;

/// Fields of an entity by their path, for example `config.minute`.
pub(super) type Fields = Map<String, Value>;

/// The value is no declarative configuration.
#[derive(Debug, thiserror::Error)]
#[error("not a declarative configuration: {0}")]
pub struct NotEntities(String);

/// Kinds of entities, the field that names one, and the kinds that may stand inside.
const KINDS: [(&str, &str, &[&str]); 7] = [
    ("services", "name", &["routes", "plugins"]),
    ("routes", "name", &["plugins"]),
    ("upstreams", "name", &["targets"]),
    ("targets", "target", &[]),
    ("consumers", "username", &["jwt_secrets", "plugins"]),
    ("jwt_secrets", "key", &[]),
    ("plugins", "name", &[]),
];
/// Fields that Kong makes up.
const MADE_UP: [&str; 5] = ["id", "created_at", "updated_at", "ws_id", "cache_key"];
/// Fields that Kong makes up where nobody wrote one, by kind: every key gets a random secret, even
/// where its algorithm has no use for one.
const MADE_UP_WHERE_MISSING: [(&str, &str); 1] = [("jwt_secrets", "secret")];
/// Former names of settings, which Kong answers beside those that took their place.
const FORMER: (&str, &str) = ("config.redis_", "config.redis.");
/// Fields that name another entity.
const REFERENCES: [(&str, &str); 4] = [
    ("service", "services"),
    ("route", "routes"),
    ("upstream", "upstreams"),
    ("consumer", "consumers"),
];
/// What a Kong keeps for itself.
const ITS_OWN: [&str; 1] = ["workspaces"];

/// Brings a configuration into the one form.
pub(super) fn entities(
    document: &Value,
    defaults: &Defaults,
) -> Result<BTreeMap<String, Fields>, NotEntities> {
    let top = document
        .as_object()
        .ok_or_else(|| NotEntities("it is no object".to_owned()))?;
    let mut collected = Collected::default();
    for (kind, list) in top {
        if kind.starts_with('_') || ITS_OWN.contains(&kind.as_str()) || list.is_null() {
            continue;
        }
        collected.add(kind, list, None)?;
    }
    Ok(collected.finish(defaults))
}

#[derive(Default)]
struct Collected {
    entities: Vec<(String, Fields)>,
    /// Names of entities by their ids.
    names: BTreeMap<String, String>,
}

impl Collected {
    /// Takes over a list of entities, and those inside them with a reference to where they were.
    fn add(
        &mut self,
        kind: &str,
        list: &Value,
        owner: Option<(&str, &str)>,
    ) -> Result<(), NotEntities> {
        let wrong = |what: &str| NotEntities(format!("{kind}: {what}"));
        let list = list.as_array().ok_or_else(|| wrong("not a list"))?;
        let (key, inside) = KINDS
            .iter()
            .find(|(name, ..)| *name == kind)
            .map_or(("name", [].as_slice()), |(_, key, inside)| (*key, *inside));
        for entity in list {
            let entity = entity.as_object().ok_or_else(|| wrong("not an object"))?;
            let mut entity = entity.clone();
            let name = entity.get(key).and_then(Value::as_str);
            let name = name
                .ok_or_else(|| wrong("an entity without a name"))?
                .to_owned();
            if let Some(id) = entity.get("id").and_then(Value::as_str) {
                self.names.insert(id.to_owned(), name.clone());
            }
            for inner in inside {
                if let Some(list) = entity.remove(*inner).filter(|list| !list.is_null()) {
                    self.add(inner, &list, Some((kind, &name)))?;
                }
            }
            if let Some((owner_kind, owner)) = owner
                && let Some((field, _)) = REFERENCES.iter().find(|(_, of)| *of == owner_kind)
            {
                entity.insert((*field).to_owned(), Value::from(owner));
            }
            self.entities.push((kind.to_owned(), entity));
        }
        Ok(())
    }

    fn finish(mut self, defaults: &Defaults) -> BTreeMap<String, Fields> {
        let entities = std::mem::take(&mut self.entities);
        entities
            .into_iter()
            .map(|(kind, entity)| self.name_and_fields(&kind, entity, defaults))
            .collect()
    }

    fn name_and_fields(
        &self,
        kind: &str,
        mut entity: Fields,
        defaults: &Defaults,
    ) -> (String, Fields) {
        for (field, _) in REFERENCES {
            if let Some(value) = entity.get(field) {
                let name = self.referred(value);
                entity.insert(field.to_owned(), name);
            }
        }
        let key = KINDS.iter().find(|(name, ..)| *name == kind);
        let key = key.map_or("name", |(_, key, _)| key);
        let name = entity.get(key).and_then(Value::as_str).unwrap_or_default();
        let scope: Vec<_> = REFERENCES
            .iter()
            .filter_map(|(field, _)| entity.get(*field)?.as_str())
            .collect();
        // A route has one name wherever it leads; plugins and targets have theirs where they belong.
        let full = if ["plugins", "targets"].contains(&kind) && !scope.is_empty() {
            format!("{kind} {name} of {}", scope.join(" and "))
        } else {
            format!("{kind} {name}")
        };
        let mut fields = Fields::new();
        for (field, value) in &entity {
            if !MADE_UP.contains(&field.as_str()) {
                flatten(field, value, &mut fields);
            }
        }
        let former: Vec<_> = fields
            .iter()
            .filter(|(field, value)| says_it_again(&fields, field, value))
            .map(|(field, _)| field.clone())
            .collect();
        // Settings of a plugin have the defaults of their plugin.
        let plugin = if kind == "plugins" { name } else { kind };
        fields.retain(|field, value| {
            !former.contains(field)
                && !defaults.holds(kind, field, value)
                && !defaults.holds(plugin, field, value)
        });
        (full, fields)
    }

    /// Returns the name of an entity that is referred to by id, by name, or by an object with either.
    fn referred(&self, value: &Value) -> Value {
        let text = match value {
            Value::Object(object) => object.get("id").or_else(|| object.get("name")),
            other => Some(other),
        };
        let Some(text) = text.and_then(Value::as_str) else {
            return Value::Null;
        };
        Value::from(self.names.get(text).map_or(text, String::as_str))
    }
}

/// Tells whether Kong makes up a field where nobody wrote one; the entity has its full name.
pub(super) fn may_be_made_up(entity: &str, field: &str) -> bool {
    let kind = entity.split(' ').next().unwrap_or_default();
    MADE_UP_WHERE_MISSING.contains(&(kind, field))
}

/// Tells whether a field is the former name of one that has the same value.
fn says_it_again(fields: &Fields, field: &str, value: &Value) -> bool {
    let (former, present) = FORMER;
    let setting = field.strip_prefix(former);
    setting.is_some_and(|setting| fields.get(&format!("{present}{setting}")) == Some(value))
}

/// Writes a value by its path; a null is nothing, and lists have no order.
pub(super) fn flatten(path: &str, value: &Value, fields: &mut Fields) {
    match value {
        Value::Null => {}
        Value::Object(object) => {
            for (name, value) in object {
                flatten(&format!("{path}.{name}"), value, fields);
            }
        }
        Value::Array(list) => {
            let mut list = list.clone();
            list.sort_by_key(Value::to_string);
            fields.insert(path.to_owned(), Value::Array(list));
        }
        Value::Number(number) => {
            // YAML written by Lua may say 30.0 for 30.
            let value = number.as_f64().map_or_else(|| value.clone(), Value::from);
            fields.insert(path.to_owned(), value);
        }
        scalar => {
            fields.insert(path.to_owned(), scalar.clone());
        }
    }
}
