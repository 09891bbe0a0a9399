//! Rules about single values.

use regex::Regex;
use serde_json::{Value, json};

/// Judges a value that has no parts.
pub(super) fn scalar(schema: &Value, value: &Value) -> Result<(), Value> {
    let kind = schema["type"].as_str().unwrap_or_default();
    let (fits, expected) = match kind {
        "string" => (value.is_string(), "a string"),
        "boolean" => (value.is_boolean(), "a boolean"),
        "number" => (value.is_number(), "a number"),
        _ => (
            value.as_f64().is_some_and(|number| number.fract() == 0.0),
            "an integer",
        ),
    };
    if !fits {
        return Err(json!(format!("expected {expected}")));
    }
    if let Some(error) = out_of_range(schema, value).or_else(|| not_listed(schema, value)) {
        return Err(json!(error));
    }
    let Some(text) = value.as_str() else {
        return Ok(());
    };
    if text.is_empty() {
        return Err(json!("length must be at least 1"));
    }
    ill_formed(schema, text).map_or(Ok(()), |error| Err(json!(error)))
}

fn out_of_range(schema: &Value, value: &Value) -> Option<String> {
    let number = value.as_f64()?;
    if let Some([low, high]) = schema["between"].as_array().map(Vec::as_slice) {
        let inside = low.as_f64()? <= number && number <= high.as_f64()?;
        return (!inside).then(|| format!("value should be between {low} and {high}"));
    }
    let least = schema["gt"].as_f64()?;
    (number <= least).then(|| format!("value must be greater than {least}"))
}

fn not_listed(schema: &Value, value: &Value) -> Option<String> {
    let list = schema["one_of"].as_array()?;
    let names: Vec<_> = list
        .iter()
        .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
        .collect();
    (!list.contains(value)).then(|| format!("expected one of: {}", names.join(", ")))
}

/// Tells what is wrong with the form of a text, by the rule that its field has.
fn ill_formed(schema: &Value, text: &str) -> Option<String> {
    let has = |rule: &str| schema[rule] == true;
    if let Some(start) = schema["starts_with"].as_str()
        && !text.starts_with(start)
    {
        return Some(format!("should start with: {start}"));
    }
    if has("router_path") {
        return router_path(text);
    }
    if has("name")
        && !text
            .chars()
            .all(|c| c.is_alphanumeric() || ".-_~".contains(c))
    {
        return Some(format!(
            "invalid value '{text}': the only accepted ascii characters are alphanumerics or ., -, _, and ~"
        ));
    }
    if has("tag") && text.contains([',', '/']) {
        return Some(format!(
            "invalid tag '{text}': expected printable ascii (except `,` and `/`) or valid utf-8 sequences"
        ));
    }
    if has("host") && text.contains(':') {
        return Some("must not have a port".to_owned());
    }
    if has("host") && !is_host(text) {
        return Some(format!("invalid value: {text}"));
    }
    if has("target") && !is_target(text) {
        return Some(format!(
            "Invalid target ('{text}'); not a valid hostname or ip address"
        ));
    }
    if has("upper") && !text.chars().all(|c| c.is_ascii_uppercase()) {
        return Some(format!("invalid value: {text}"));
    }
    if has("pair") && text.split_once(':').is_none_or(|(key, _)| key.is_empty()) {
        return Some(format!("invalid value: {text}"));
    }
    if has("regex") && text != "*" && Regex::new(text).is_err() {
        return Some(format!("'{text}' is not a valid regex"));
    }
    None
}

fn router_path(path: &str) -> Option<String> {
    let pattern = path.strip_prefix('~');
    if !pattern.unwrap_or(path).starts_with('/') {
        return Some("should start with: / (fixed path) or ~/ (regex path)".to_owned());
    }
    if path.contains("//") {
        return Some("must not have empty segments".to_owned());
    }
    let Some(pattern) = pattern else {
        let plain = path
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "/.-_~%:@!$&'()*+,;=".contains(c));
        return (!plain).then(|| {
            format!(
                "invalid path: '{path}' (characters outside of the reserved list of RFC 3986 found)"
            )
        });
    };
    let error = Regex::new(pattern).err()?;
    Some(format!(
        "invalid regex: '{pattern}' (PCRE returned: {error})"
    ))
}

fn is_host(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || ".-_*".contains(c))
}

fn is_target(text: &str) -> bool {
    match text.split_once(':') {
        Some((host, port)) => is_host(host) && port.parse::<u16>().is_ok(),
        None => is_host(text),
    }
}
