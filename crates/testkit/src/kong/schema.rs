//! The schemas in Kong's own words, and values judged by them.

use std::hash::{BuildHasher, RandomState};

use serde_json::{Map, Value, json};

use super::rules;

/// Schemas of entities and plugins of Kong 3.9, as far as the platform uses them.
const SCHEMAS: &str = include_str!("schema.json");

/// All schemas.
#[derive(Clone, Debug)]
pub(super) struct Schemas(Value);

impl Schemas {
    /// Reads the schemas.
    #[expect(clippy::expect_used, reason = "the file is a part of this crate")]
    pub(super) fn new() -> Self {
        Self(serde_json::from_str(SCHEMAS).expect("schemas in JSON"))
    }

    /// Returns the fields of a kind of entity.
    pub(super) fn entity(&self, kind: &str) -> Option<&Map<String, Value>> {
        self.0["entities"][kind].as_object()
    }

    /// Returns the settings of a plugin.
    pub(super) fn plugin(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0["plugins"][name].as_object()
    }
}

/// Judges an object, and returns it with all defaults filled in.
///
/// # Errors
/// What is wrong, field by field, in the form in which Kong says it.
pub(super) fn record(
    fields: &Map<String, Value>,
    object: &Map<String, Value>,
) -> Result<Map<String, Value>, Map<String, Value>> {
    let mut errors = Map::new();
    let mut filled = Map::new();
    for name in object.keys().filter(|name| !fields.contains_key(*name)) {
        errors.insert(name.clone(), json!("unknown field"));
    }
    for (name, schema) in fields {
        let given = object.get(name).filter(|value| !value.is_null());
        match given.map_or_else(|| absent(schema), |value| judge(schema, value)) {
            Ok(Value::Null) => {}
            Ok(value) => {
                filled.insert(name.clone(), value);
            }
            Err(error) => {
                errors.insert(name.clone(), error);
            }
        }
    }
    if errors.is_empty() {
        Ok(filled)
    } else {
        Err(errors)
    }
}

/// Returns what stands for a value that nobody gave.
fn absent(schema: &Value) -> Result<Value, Value> {
    if let Some(default) = schema.get("default") {
        return Ok(default.clone());
    }
    if schema["type"] == "record" {
        return judge(schema, &json!({}));
    }
    if schema["auto"] == true {
        return Ok(Value::from(random_text()));
    }
    if schema["required"] == true {
        return Err(json!("required field missing"));
    }
    Ok(Value::Null)
}

/// Makes up a text of 32 characters, another one each time.
fn random_text() -> String {
    // The seeds of a map are the only source of chance here, and no secret depends on it.
    let number = || RandomState::new().hash_one(());
    format!("{:016x}{:016x}", number(), number())
}

fn judge(schema: &Value, value: &Value) -> Result<Value, Value> {
    match schema["type"].as_str().unwrap_or_default() {
        "record" => {
            let object = value
                .as_object()
                .ok_or_else(|| json!("expected a record"))?;
            let fields = schema["fields"].as_object().cloned().unwrap_or_default();
            Ok(Value::Object(
                record(&fields, object).map_err(Value::Object)?,
            ))
        }
        kind @ ("array" | "set") => {
            let expected = if kind == "set" { "a set" } else { "an array" };
            let list = value
                .as_array()
                .ok_or_else(|| json!(format!("expected {expected}")))?;
            each(list, &schema["elements"])
        }
        "map" => {
            let object = value.as_object().ok_or_else(|| json!("expected a map"))?;
            let mut errors = Map::new();
            for (key, value) in object {
                if let Err(error) = judge(&schema["values"], value) {
                    errors.insert(key.clone(), error);
                }
            }
            if errors.is_empty() {
                Ok(value.clone())
            } else {
                Err(Value::Object(errors))
            }
        }
        // Whom it names is judged when all entities are known.
        "foreign" => Ok(value.clone()),
        _ => rules::scalar(schema, value).map(|()| value.clone()),
    }
}

/// Judges the elements of a list; the error of an element stands in its place.
fn each(list: &[Value], schema: &Value) -> Result<Value, Value> {
    let judged: Vec<_> = list.iter().map(|value| judge(schema, value)).collect();
    if judged.iter().all(Result::is_ok) {
        return Ok(Value::Array(list.to_vec()));
    }
    let errors = judged.into_iter().map(|one| one.err().unwrap_or_default());
    Err(Value::Array(errors.collect()))
}
