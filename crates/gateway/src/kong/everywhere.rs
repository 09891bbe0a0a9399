//! What is done with every request, whatever its route.

use super::plugin::{Headers, Plugin};

/// Headers by which a client could pretend to have been seen by a gateway.
const PRETENDED: [&str; 17] = [
    "X-User",
    "X-User-Id",
    "X-Consumer-Id",
    "X-Consumer-Custom-Id",
    "X-Consumer-Username",
    "X-Consumer-Groups",
    "X-Credential-Identifier",
    "X-Anonymous-Consumer",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Real-Ip",
    "Forwarded",
    "X-Authenticated-Userid",
];

/// Headers that name programs, and the old rate limit headers, which are not the ones that we speak;
/// `Retry-After` stays.
const SILENT: [&str; 10] = [
    "Server",
    "X-Powered-By",
    "Via",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "X-RateLimit-Limit-Second",
    "X-RateLimit-Remaining-Second",
    "X-RateLimit-Limit-Minute",
    "X-RateLimit-Remaining-Minute",
];

/// Marks what this program wrote.
pub(super) fn tags() -> Vec<String> {
    vec!["sutazai".to_owned()]
}

/// Returns the plugins of every request.
pub(super) fn plugins(origins: &[String]) -> Vec<Plugin> {
    // Without an origin there is no plugin: Kong takes an empty list for every site. The backend
    // then answers browsers itself.
    let cors = (!origins.is_empty()).then(|| cors(origins));
    let always = [
        Plugin::CorrelationId {
            header_name: "X-Request-Id".to_owned(),
            generator: "uuid".to_owned(),
            echo_downstream: true,
        },
        Plugin::Prometheus {
            per_consumer: false,
            status_code_metrics: true,
            latency_metrics: false,
            bandwidth_metrics: false,
            upstream_health_metrics: false,
        },
        Plugin::RequestTransformer {
            remove: headers(&PRETENDED),
        },
        Plugin::ResponseTransformer {
            remove: headers(&SILENT),
        },
    ];
    always.into_iter().chain(cors).collect()
}

/// Allows what the backend allows by itself.
fn cors(origins: &[String]) -> Plugin {
    Plugin::Cors {
        origins: origins.to_vec(),
        methods: texts(&["GET", "POST", "DELETE"]),
        headers: texts(&[
            "Authorization",
            "Content-Type",
            "Idempotency-Key",
            "Last-Event-Id",
            "Traceparent",
            "X-Request-Id",
        ]),
        exposed_headers: texts(&[
            "Idempotency-Replayed",
            "Link",
            "Location",
            "Retry-After",
            "X-Request-Id",
        ]),
        credentials: true,
        max_age: 600,
    }
}

fn headers(names: &[&str]) -> Headers {
    Headers {
        headers: texts(names),
    }
}

fn texts(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
