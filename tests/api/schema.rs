//! Whether JSON is what its schema says: the part of JSON Schema that the document uses, stricter
//! in one thing, because a member that is not described is a fault.

use serde_json::{Map, Value, json};

use crate::document::Document;

/// Returns where and how a value differs from its schema.
pub(crate) fn mismatches(document: &Document, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    check(document, schema, value, "", &mut found);
    found
}

fn check(document: &Document, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let schema = document.resolve(schema);
    let choices = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(choices) = choices {
        let fits = |choice: &Value| mismatches(document, choice, value).is_empty();
        if !choices.iter().any(fits) {
            found.push(format!("{at}: no choice fits {value}"));
        }
        return;
    }
    if !has_type(&schema["type"], value) {
        found.push(format!("{at}: {value} is not of type {}", schema["type"]));
    }
    if let Some(known) = schema["enum"].as_array()
        && !known.contains(value)
    {
        found.push(format!("{at}: {value} is none of {known:?}"));
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                let at = format!("{at}/{index}");
                check(document, &schema["items"], item, &at, found);
            }
        }
        Value::Object(object) => check_object(document, schema, object, at, found),
        Value::String(text) if !has_format(&schema["format"], text) => {
            found.push(format!("{at}: {text} is no {}", schema["format"]));
        }
        _ => {}
    }
}

fn check_object(
    document: &Document,
    schema: &Value,
    object: &Map<String, Value>,
    at: &str,
    found: &mut Vec<String>,
) {
    let parts = parts(document, schema);
    let required = parts
        .iter()
        .flat_map(|part| part["required"].as_array().into_iter().flatten());
    for name in required.filter_map(Value::as_str) {
        if !object.contains_key(name) {
            found.push(format!("{at}/{name} is missing"));
        }
    }
    let is_open = parts.iter().all(|part| part["properties"].is_null());
    for (name, member) in object {
        let at = format!("{at}/{name}");
        let described = parts.iter().map(|part| &part["properties"][name]);
        let others = parts.iter().map(|part| &part["additionalProperties"]);
        let described = described.chain(others).find(|schema| schema.is_object());
        match described {
            Some(schema) => check(document, schema, member, &at, found),
            None if is_open => {}
            None => found.push(format!("{at} is not described")),
        }
    }
}

/// Returns the schemas that an object has to fit all of.
fn parts<'a>(document: &'a Document, schema: &'a Value) -> Vec<&'a Value> {
    let mut parts = vec![schema];
    for part in schema["allOf"].as_array().into_iter().flatten() {
        parts.extend(self::parts(document, document.resolve(part)));
    }
    parts
}

fn has_type(expected: &Value, value: &Value) -> bool {
    let fits = |name: &Value| match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match expected {
        Value::Null => true,
        Value::Array(names) => names.iter().any(fits),
        name => fits(name),
    }
}

fn has_format(format: &Value, text: &str) -> bool {
    match format.as_str() {
        Some("uuid") => uuid::Uuid::try_parse(text).is_ok(),
        Some("date-time") => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        _ => true,
    }
}

#[test]
fn planted_differences_are_found() {
    let document = Document(json!({"components": {"schemas": {
        "Item": {
            "type": "object",
            "properties": {"id": {"type": "string", "format": "uuid"}, "n": {"type": ["integer", "null"]}},
            "required": ["id"],
        },
        "List": {
            "allOf": [{"properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Item"}}}}],
            "properties": {"kind": {"type": "string", "enum": ["list"]}},
        },
    }}}));
    let list = json!({"$ref": "#/components/schemas/List"});
    let id = crate::UNKNOWN;
    let good = json!({"kind": "list", "items": [{"id": id, "n": null}, {"id": id, "n": 7}]});
    assert_eq!(mismatches(&document, &list, &good), [""; 0]);
    for bad in [
        json!({"kind": "other"}),
        json!({"extra": 1}),
        json!({"items": [{"id": "7"}]}),
        json!({"items": [{"n": 1}]}),
        json!({"items": [{"id": id, "n": "7"}]}),
        json!({"items": {"id": id}}),
    ] {
        assert_eq!(mismatches(&document, &list, &bad).len(), 1, "{bad}");
    }
}
