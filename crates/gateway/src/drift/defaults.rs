//! What Kong 3.9 fills in where nobody wrote anything.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::flat::{Fields, flatten};

/// Values of fields that nobody wrote, by the kind of entity or the name of the plugin.
pub(super) struct Defaults(BTreeMap<String, Fields>);

impl Defaults {
    /// Brings the table into the one form.
    pub(super) fn new() -> Self {
        let mut all = BTreeMap::new();
        for (table, prefix) in [(entities(), ""), (plugins(), "config.")] {
            let Value::Object(table) = table else {
                continue;
            };
            for (kind, fields) in table {
                let Value::Object(fields) = fields else {
                    continue;
                };
                let of_kind: &mut Fields = all.entry(kind).or_default();
                for (field, value) in fields {
                    flatten(&format!("{prefix}{field}"), &value, of_kind);
                }
            }
        }
        Self(all)
    }

    /// Tells whether a field has the value that it would have if nobody had written it.
    pub(super) fn holds(&self, kind: &str, field: &str, value: &Value) -> bool {
        let of_kind = self.0.get(kind);
        of_kind.is_some_and(|fields| fields.get(field) == Some(value))
    }
}

/// Kinds of entities, plugins among them.
fn entities() -> Value {
    json!({
        "services": {
            "enabled": true,
            "protocol": "http",
            "port": 80,
            "retries": 5,
            "connect_timeout": 60000,
            "write_timeout": 60000,
            "read_timeout": 60000,
        },
        "routes": {
            "protocols": ["http", "https"],
            "https_redirect_status_code": 426,
            "path_handling": "v0",
            "regex_priority": 0,
            "strip_path": true,
            "preserve_host": false,
            "request_buffering": true,
            "response_buffering": true,
        },
        "upstreams": {
            "algorithm": "round-robin",
            "hash_on": "none",
            "hash_fallback": "none",
            "hash_on_cookie_path": "/",
            "slots": 10000,
            "use_srv_name": false,
            "healthchecks": {
                "threshold": 0,
                "active": { "type": "http", "https_verify_certificate": true },
                "passive": {
                    "type": "http",
                    "healthy": { "http_statuses": [
                        200, 201, 202, 203, 204, 205, 206, 207, 208, 226, 300, 301, 302, 303, 304,
                        305, 306, 307, 308,
                    ] },
                    "unhealthy": { "http_statuses": [429, 500, 503], "http_failures": 0 },
                },
            },
        },
        "targets": { "weight": 100 },
        "plugins": { "enabled": true, "protocols": ["grpc", "grpcs", "http", "https"] },
    })
}

/// Settings of plugins.
fn plugins() -> Value {
    json!({
        "cors": {
            "allow_origin_absent": true,
            "credentials": false,
            "preflight_continue": false,
            "private_network": false,
        },
        "jwt": {
            "cookie_names": [],
            "header_names": ["authorization"],
            "maximum_expiration": 0,
            "run_on_preflight": true,
            "secret_is_base64": false,
            "uri_param_names": ["jwt"],
        },
        "prometheus": {
            "ai_metrics": false,
            "bandwidth_metrics": false,
            "latency_metrics": false,
            "per_consumer": false,
            "status_code_metrics": false,
            "upstream_health_metrics": false,
            "wasm_metrics": false,
        },
        "rate-limiting": {
            "error_code": 429,
            "error_message": "API rate limit exceeded",
            "fault_tolerant": true,
            "hide_client_headers": false,
            "policy": "local",
            "redis": {
                "database": 0, "port": 6379, "ssl": false, "ssl_verify": false, "timeout": 2000,
            },
            "sync_rate": -1,
        },
        "request-size-limiting": { "require_content_length": false },
        "request-transformer": {
            "add": { "body": [], "headers": [], "querystring": [] },
            "append": { "body": [], "headers": [], "querystring": [] },
            "remove": { "body": [], "headers": [], "querystring": [] },
            "rename": { "body": [], "headers": [], "querystring": [] },
            "replace": { "body": [], "headers": [], "querystring": [] },
        },
        "response-transformer": {
            "add": { "headers": [], "json": [], "json_types": [] },
            "append": { "headers": [], "json": [], "json_types": [] },
            "remove": { "headers": [], "json": [] },
            "rename": { "headers": [], "json": [] },
            "replace": { "headers": [], "json": [], "json_types": [] },
        },
    })
}
