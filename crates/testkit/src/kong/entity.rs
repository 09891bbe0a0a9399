//! Rules about whole entities.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::schema::{Schemas, record};

/// What precedes the 32 bytes of a public Ed25519 key (RFC 8410).
const ED25519: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const RATE_LIMITING: &str = "rate-limiting";
/// Settings `redis.x` of that plugin, which Kong answers as `redis_x` too: so they were named once.
const REDIS: [&str; 9] = [
    "host",
    "port",
    "password",
    "username",
    "ssl",
    "ssl_verify",
    "server_name",
    "timeout",
    "database",
];

/// Judges an entity of a kind, and returns it with all defaults filled in.
///
/// # Errors
/// What is wrong, field by field; what concerns several fields stands under `@entity`.
pub(super) fn judge(
    schemas: &Schemas,
    kind: &str,
    entity: &Map<String, Value>,
) -> Result<Map<String, Value>, Map<String, Value>> {
    let mut rest = entity.clone();
    for own in ["id", "created_at", "updated_at"] {
        rest.remove(own);
    }
    let config = if kind == "plugins" {
        rest.remove("config")
    } else {
        None
    };
    let fields = schemas.entity(kind).cloned().unwrap_or_default();
    let mut judged = record(&fields, &rest)?;
    if kind == "plugins" {
        let config = settings(schemas, entity, config)?;
        judged.insert("config".to_owned(), Value::Object(config));
    }
    let faults = match kind {
        "routes" => route(&judged),
        "plugins" => plugin(&judged),
        "jwt_secrets" => secret(&judged),
        "consumers"
            if judged
                .get("username")
                .or_else(|| judged.get("custom_id"))
                .is_none() =>
        {
            whole("at least one of these fields must be non-empty: 'custom_id', 'username'")
        }
        _ => Map::new(),
    };
    if faults.is_empty() {
        Ok(judged)
    } else {
        Err(faults)
    }
}

/// Judges the settings of a plugin by the plugin's own schema.
fn settings(
    schemas: &Schemas,
    plugin: &Map<String, Value>,
    config: Option<Value>,
) -> Result<Map<String, Value>, Map<String, Value>> {
    let name = plugin
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some(fields) = schemas.plugin(name) else {
        let why =
            format!("plugin '{name}' not enabled; add it to the 'plugins' configuration property");
        return Err(one("name", &json!(why)));
    };
    let Value::Object(mut config) = config.unwrap_or_else(|| json!({})) else {
        return Err(one("config", &json!("expected a record")));
    };
    if name == RATE_LIMITING {
        drop_former_names(&mut config);
    }
    let mut judged =
        record(fields, &config).map_err(|errors| one("config", &Value::Object(errors)))?;
    if name == RATE_LIMITING {
        add_former_names(&mut judged);
    }
    Ok(judged)
}

/// Takes back what was answered: a former name beside the present one, with the same value. Alone it
/// is refused, unlike in Kong.
fn drop_former_names(config: &mut Map<String, Value>) {
    let redis = config.get("redis").cloned().unwrap_or_default();
    for setting in REDIS {
        let former = format!("redis_{setting}");
        if config.get(&former) == Some(&redis[setting]) {
            config.remove(&former);
        }
    }
}

/// Adds the former names; one without a value is null.
fn add_former_names(config: &mut Map<String, Value>) {
    let redis = config.get("redis").cloned().unwrap_or_default();
    for setting in REDIS {
        config.insert(format!("redis_{setting}"), redis[setting].clone());
    }
}

fn route(route: &Map<String, Value>) -> Map<String, Value> {
    let protocols = route.get("protocols").and_then(Value::as_array);
    let named = |name: &str| protocols.is_some_and(|list| list.contains(&json!(name)));
    let is_http = named("http") || named("https");
    if is_http && (named("tcp") || named("grpc") || named("tls") || named("udp")) {
        let sets =
            "('http', 'https'), ('tcp', 'tls', 'udp'), ('tls_passthrough'), ('grpc', 'grpcs')";
        return one(
            "protocols",
            &json!(format!("these sets are mutually exclusive: {sets}")),
        );
    }
    let filled = |name: &&str| {
        let value = route.get(*name);
        value.is_some_and(|value| *value != json!([]) && *value != json!({}))
    };
    let conditions = ["methods", "hosts", "headers", "paths", "snis"];
    if is_http && !conditions.iter().any(filled) {
        let protocol = if named("https") { "https" } else { "http" };
        return whole(&format!(
            "must set one of 'methods', 'hosts', 'headers', 'paths', 'snis' when 'protocols' is '{protocol}'"
        ));
    }
    Map::new()
}

fn plugin(plugin: &Map<String, Value>) -> Map<String, Value> {
    if plugin["name"] != RATE_LIMITING {
        return Map::new();
    }
    let config = &plugin["config"];
    let periods = ["second", "minute", "hour", "day", "month", "year"];
    let limits: Vec<_> = periods
        .into_iter()
        .filter_map(|period| Some((period, config[period].as_f64()?)))
        .collect();
    if limits.is_empty() {
        let names = periods
            .map(|period| format!("'config.{period}'"))
            .join(", ");
        return whole(&format!(
            "at least one of these fields must be non-empty: {names}"
        ));
    }
    let shrinking = limits.windows(2).find(|pair| pair[1].1 < pair[0].1);
    shrinking.map_or_else(Map::new, |pair| {
        let [(low, small), (high, large)] = [pair[0], pair[1]];
        let why = format!(
            "The limit for {high}({large:.1}) cannot be lower than the limit for {low}({small:.1})"
        );
        one("config", &json!(why))
    })
}

fn secret(secret: &Map<String, Value>) -> Map<String, Value> {
    let algorithm = secret["algorithm"].as_str().unwrap_or_default();
    if algorithm.starts_with("HS") {
        return Map::new();
    }
    match secret.get("rsa_public_key").and_then(Value::as_str) {
        None => one("rsa_public_key", &json!("required field missing")),
        Some(pem) if algorithm == "EdDSA" && !is_ed25519(pem) => {
            one("rsa_public_key", &json!("invalid key"))
        }
        Some(_) => Map::new(),
    }
}

fn is_ed25519(pem: &str) -> bool {
    let body = pem
        .trim()
        .strip_prefix("-----BEGIN PUBLIC KEY-----")
        .and_then(|rest| rest.strip_suffix("-----END PUBLIC KEY-----"));
    let bytes = body.and_then(|body| STANDARD.decode(body.trim()).ok());
    bytes.is_some_and(|bytes| bytes.len() == 44 && bytes.starts_with(&ED25519))
}

fn whole(why: &str) -> Map<String, Value> {
    one("@entity", &json!([why]))
}

fn one(field: &str, error: &Value) -> Map<String, Value> {
    Map::from_iter([(field.to_owned(), error.clone())])
}
