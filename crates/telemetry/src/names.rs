//! Every metric of the platform, once.

use std::fmt::Write;

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// The present value.
    Gauge,
    /// Distribution of a duration in seconds.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Name in the exposition.
    pub name: &'static str,
    /// What it measures.
    pub kind: Kind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence for whoever reads the exposition.
    pub help: &'static str,
}

/// Declares each metric as a constant with its name, and all of them as [`ALL`].
macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: &str = $name;)*

        /// All metrics, in the order of their declaration.
        pub const ALL: &[Metric] = &[
            $(Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help },)*
        ];
    };
}

#[rustfmt::skip]
metrics! {
    API_REQUEST_DURATION_SECONDS = Histogram "api_request_duration_seconds" ["method", "endpoint", "status"] "Time from an HTTP request's head to the end of the answer.";
    API_REQUEST_TOTAL = Counter "api_request_total" ["method", "endpoint", "status"] "HTTP requests answered.";
    API_ERRORS_TOTAL = Counter "api_errors_total" ["method", "endpoint", "error_type"] "HTTP requests answered with an error, by its reason.";
    ACTIVE_CONNECTIONS = Gauge "active_connections" ["service"] "Connections that clients hold open.";
    BUILD_INFO = Gauge "build_info" ["service", "version"] "Always 1; its labels say what runs.";
    DB_QUERY_DURATION_SECONDS = Histogram "db_query_duration_seconds" ["query_type"] "Time of one unit of database work, waiting for a connection included.";
    DB_QUERIES_TOTAL = Counter "db_queries_total" ["query_type", "outcome"] "Units of database work done.";
    DB_POOL_CONNECTIONS = Gauge "db_pool_connections" ["schema", "state"] "Connections of the pool: idle, in_use, and the max allowed.";
    DB_POOL_WAITERS = Gauge "db_pool_waiters" ["schema"] "Units of database work that wait for a connection.";
    DB_POOL_WAIT_SECONDS = Histogram "db_pool_wait_seconds" ["schema"] "Time that a unit of database work waited for its turn.";
    REDIS_OPERATIONS_TOTAL = Counter "redis_operations_total" ["operation", "outcome"] "Units of work done on Redis.";
    REDIS_OPERATION_DURATION_SECONDS = Histogram "redis_operation_duration_seconds" ["operation"] "Time of one unit of work on Redis.";
    CONNECTION_ERRORS_TOTAL = Counter "connection_errors_total" ["to"] "Times that a server could not be reached, closed a connection or kept silent.";
    CACHE_REQUESTS_TOTAL = Counter "cache_requests_total" ["namespace", "outcome"] "Look-ups in the cache: local, shared, joined (another look-up was loading the same) or missed.";
    CACHE_LOADS_TOTAL = Counter "cache_loads_total" ["namespace", "outcome"] "Values made because the cache had none.";
    CACHE_HIT_RATIO = Gauge "cache_hit_ratio" [] "Share of look-ups that the cache answered, since the start.";
    CACHE_LOCAL_BYTES = Gauge "cache_local_bytes" [] "Weight of the cache's local level.";
    MESH_CALLS_TOTAL = Counter "mesh_calls_total" ["from", "to", "outcome"] "Calls from service to service.";
    MESH_CALL_DURATION_SECONDS = Histogram "mesh_call_duration_seconds" ["from", "to"] "Time of a call from service to service until its first answer.";
    MESH_CALLS_SERVED_TOTAL = Counter "mesh_calls_served_total" ["from", "to"] "Calls from service to service as the callee saw them, whatever way they came.";
    MESH_CONNECTIONS_TOTAL = Counter "mesh_connections_total" ["to"] "Connections opened to instances of a service; the calls share them.";
    MESH_EJECTIONS_TOTAL = Counter "mesh_ejections_total" ["from", "to"] "Instances that were left out of the choice for their faults.";
    MESH_RETRIES_TOTAL = Counter "mesh_retries_total" ["from", "to", "outcome"] "Further tries of idempotent calls: made, or refused because the budget was spent.";
    HTTP_CLIENT_REQUESTS_TOTAL = Counter "http_client_requests_total" ["client", "outcome"] "HTTP requests sent to foreign systems.";
    REGISTRY_REQUESTS_TOTAL = Counter "registry_requests_total" ["request", "outcome"] "Requests sent to Consul.";
    REGISTRY_REGISTRATION_SECONDS = Histogram "registry_registration_seconds" ["registry"] "Time to enter an instance into the registry.";
    REGISTRY_CONNECTED = Gauge "registry_connected" ["service"] "Whether Consul answered the last query about a service.";
    REGISTRY_INDEX = Gauge "registry_index" ["service"] "Index of Consul's last answer about a service.";
    REGISTRY_LIST_AGE_SECONDS = Gauge "registry_list_age_seconds" ["service"] "Age of the list of a service's instances at the last query.";
    MESSAGES_PUBLISHED_TOTAL = Counter "messages_published_total" ["exchange", "outcome"] "Messages given to the broker.";
    MESSAGES_CONSUMED_TOTAL = Counter "messages_consumed_total" ["queue", "outcome"] "Messages taken from the broker, by the decision about them.";
    MESSAGE_ECHOES_TOTAL = Counter "message_echoes_total" ["from"] "Echoes that came through the broker, by the service that sent them.";
    BROKER_CONNECTED = Gauge "broker_connected" ["connection"] "1 while a connection to the broker stands, one for each direction.";
    BROKER_CONNECTS_TOTAL = Counter "broker_connects_total" ["connection", "outcome"] "Tries to connect to the broker; every success after the first is a reconnection.";
    TASK_ANSWERS_TOTAL = Counter "task_answers_total" ["event", "outcome"] "Answers to producers on the broker: delivered, gone (no queue takes it any more), given up, or failed and tried again.";
    INFERENCE_DURATION_SECONDS = Histogram "inference_duration_seconds" ["model", "node", "outcome"] "Time from the head of a node's answer to its end: finished, failed or abandoned by the caller.";
    INFERENCE_FIRST_TOKEN_SECONDS = Histogram "inference_first_token_seconds" ["model", "node"] "Time from a request to a node until its first token.";
    INFERENCE_ATTEMPTS_TOTAL = Counter "inference_attempts_total" ["node", "outcome"] "Requests sent to nodes: opened, or the reason of the failure.";
    AGENT_ATTEMPTS_TOTAL = Counter "agent_attempts_total" ["task_type", "outcome"] "Attempts of tasks that an agent ran: succeeded, cancelled, lost, or the reason of the failure.";
    AGENT_ATTEMPT_DURATION_SECONDS = Histogram "agent_attempt_duration_seconds" ["task_type"] "Time that an agent worked on one attempt of a task.";
    INFERENCE_QUEUED = Gauge "inference_queued" [] "Requests that wait for a slot on a node.";
    BREAKER_STATE = Gauge "breaker_state" ["name"] "State of a circuit breaker: 0 closed, 1 half open, 2 open.";
    BREAKER_TRANSITIONS_TOTAL = Counter "breaker_transitions_total" ["name", "to"] "Changes of state of a circuit breaker.";
}

/// Renders all metrics as a page for people.
pub fn table() -> String {
    let mut text = String::from(
        "# Metrics\n\nGenerated by `make generate`. Every service serves them as Prometheus text on `/metrics`.\n\n\
         | name | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for Metric {
        name,
        kind,
        labels,
        help,
    } in ALL
    {
        let kind = format!("{kind:?}").to_lowercase();
        // Writing to a String can not fail.
        let _ = writeln!(
            text,
            "| `{name}` | {kind} | {} | {help} |",
            labels.join(", ")
        );
    }
    text
}

/// Gives the installed recorder the help texts.
pub fn describe() {
    for metric in ALL {
        match metric.kind {
            Kind::Counter => describe_counter!(metric.name, metric.help),
            Kind::Gauge => describe_gauge!(metric.name, metric.help),
            Kind::Histogram => describe_histogram!(metric.name, metric.help),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn labels(name: &str) -> Option<(Kind, &'static [&'static str])> {
        let metric = ALL.iter().find(|metric| metric.name == name)?;
        Some((metric.kind, metric.labels))
    }

    /// Dashboards and alert rules of users hold these names: they can not change.
    #[test]
    fn obs_01_promised_metrics_keep_name_kind_and_labels() {
        let request = ["method", "endpoint", "status"].as_slice();
        let promised: [(&str, Kind, &[&str]); 6] = [
            ("api_request_duration_seconds", Kind::Histogram, request),
            ("api_request_total", Kind::Counter, request),
            (
                "api_errors_total",
                Kind::Counter,
                &["method", "endpoint", "error_type"],
            ),
            (
                "db_query_duration_seconds",
                Kind::Histogram,
                &["query_type"],
            ),
            ("cache_hit_ratio", Kind::Gauge, &[]),
            ("active_connections", Kind::Gauge, &["service"]),
        ];
        for (name, kind, expected) in promised {
            assert_eq!(labels(name), Some((kind, expected)), "{name}");
        }
    }

    /// Returns the unit that a name ends with: base units only (Prometheus, metric naming).
    fn unit(name: &str) -> Option<&str> {
        let (_, last) = name.rsplit_once('_')?;
        ["seconds", "bytes", "ratio"]
            .contains(&last)
            .then_some(last)
    }

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        let names: BTreeSet<_> = ALL.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), ALL.len());
        for metric in ALL {
            let Metric {
                name,
                kind,
                labels,
                help,
            } = *metric;
            let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(
                plain(name) && labels.iter().all(|label| plain(label)),
                "{name}"
            );
            assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
            let unit = unit(name);
            match kind {
                Kind::Histogram => assert_eq!(unit, Some("seconds"), "{name}"),
                // An age is told in seconds, and only an age is.
                Kind::Gauge => {
                    assert_eq!(unit == Some("seconds"), name.contains("_age"), "{name}");
                }
                Kind::Counter => assert_eq!(unit, None, "{name}"),
            }
            assert!(help.ends_with('.'), "{name}");
        }
    }
}
