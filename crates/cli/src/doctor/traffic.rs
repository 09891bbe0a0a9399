//! What each part carried since its processes started, without what probes send (NET-03).

use std::collections::BTreeMap;

use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::platform::v1::Counter;
use sutazai_telemetry::names;

/// Paths that machines ask all the time.
const ASKED_BY_MACHINES: [&str; 6] = [
    "/livez",
    "/readyz",
    "/health",
    "/metrics",
    "/api/health",
    "/api/v1/health",
];
/// Beginning of the types of tasks that the automation agent does.
const AUTOMATION: &str = "automation.";

/// The counters of some processes.
pub(super) struct Tally<'a>(pub(super) Vec<&'a Counter>);

/// What a part carried.
pub(super) struct Traffic {
    /// Whether anybody but a probe used it.
    pub(super) used: bool,
    /// Totals by name.
    pub(super) counters: BTreeMap<String, u64>,
}

impl Traffic {
    /// The first of the totals are those that show use.
    fn new<const SHOW: usize, const MORE: usize>(
        use_of_it: [(&str, u64); SHOW],
        more: [(&str, u64); MORE],
    ) -> Self {
        let all = use_of_it.iter().chain(&more);
        Self {
            used: use_of_it.iter().any(|(_, total)| *total > 0),
            counters: all
                .map(|(name, total)| ((*name).to_owned(), *total))
                .collect(),
        }
    }
}

impl Tally<'_> {
    /// Sums the counters of this name that are wanted.
    fn total(&self, name: &str, wanted: impl Fn(&Counter) -> bool) -> u64 {
        let counters = self.0.iter();
        let counters = counters.filter(|counter| counter.name == name && wanted(counter));
        counters.map(|counter| whole(counter.value)).sum()
    }

    /// Counts the echoes that came through the broker from one service, or from all.
    pub(super) fn echoes(&self, from: Option<&str>) -> u64 {
        let wanted = |counter: &Counter| from.is_none_or(|from| label(counter, "from") == from);
        self.total(names::MESSAGE_ECHOES_TOTAL, wanted)
    }

    /// Says what the instances of a service did.
    pub(super) fn of_service(&self, service: ServiceName) -> Traffic {
        let attempts = |automation: bool| {
            self.total(names::AGENT_ATTEMPTS_TOTAL, |counter| {
                label(counter, "task_type").starts_with(AUTOMATION) == automation
            })
        };
        let served = || {
            self.total(names::MESH_CALLS_SERVED_TOTAL, |counter| {
                let from_operator = label(counter, "from") == ServiceName::Cli.as_str();
                label(counter, "to") == service.as_str() && !from_operator
            })
        };
        match service {
            ServiceName::Backend => {
                let by_users =
                    |counter: &Counter| !ASKED_BY_MACHINES.contains(&label(counter, "endpoint"));
                let requests = self.total(names::API_REQUEST_TOTAL, by_users);
                let failed = self.total(names::API_REQUEST_TOTAL, |counter| {
                    by_users(counter) && label(counter, "status").starts_with('5')
                });
                Traffic::new([("requests", requests)], [("errors", failed)])
            }
            ServiceName::AgentOrchestrator => Traffic::new(
                [("calls_served", served()), ("attempts", attempts(false))],
                [],
            ),
            ServiceName::AutomationAgent => Traffic::new([("attempts", attempts(true))], []),
            ServiceName::OllamaProxy => {
                let attempts = self.total(names::INFERENCE_ATTEMPTS_TOTAL, |_| true);
                Traffic::new([("calls_served", served()), ("attempts", attempts)], [])
            }
            ServiceName::TaskCoordinator | ServiceName::Cli => {
                Traffic::new([("calls_served", served())], [])
            }
        }
    }

    pub(super) fn of_postgres(&self) -> Traffic {
        let queries = self.total(names::DB_QUERIES_TOTAL, |counter| {
            label(counter, "query_type") != "ping"
        });
        let errors = self.connection_errors("postgres");
        Traffic::new([("queries", queries)], [("errors", errors)])
    }

    pub(super) fn of_broker(&self) -> Traffic {
        let echoes = self.echoes(None);
        let confirmed = self.total(names::MESSAGES_PUBLISHED_TOTAL, |counter| {
            label(counter, "outcome") == "ok"
        });
        let consumed = self.total(names::MESSAGES_CONSUMED_TOTAL, |_| true);
        let errors = self.connection_errors("rabbitmq");
        Traffic::new(
            [
                ("confirmed", confirmed.saturating_sub(echoes)),
                ("consumed", consumed.saturating_sub(echoes)),
            ],
            [("echoes", echoes), ("errors", errors)],
        )
    }

    pub(super) fn of_registry(&self) -> Traffic {
        // Calls find their way by the registry.
        let calls = self.total(names::MESH_CALLS_TOTAL, |counter| {
            label(counter, "from") != ServiceName::Cli.as_str()
        });
        let requests = self.total(names::REGISTRY_REQUESTS_TOTAL, |_| true);
        let errors = self.connection_errors("consul");
        Traffic::new(
            [("calls", calls)],
            [("requests", requests), ("errors", errors)],
        )
    }

    pub(super) fn of_redis(&self) -> Traffic {
        let looked_up = |outcome: &str| {
            self.total(names::CACHE_REQUESTS_TOTAL, |counter| {
                label(counter, "outcome") == outcome
            })
        };
        let limits = self.total(names::REDIS_OPERATIONS_TOTAL, |counter| {
            label(counter, "operation") == "limit.take"
        });
        let operations = self.total(names::REDIS_OPERATIONS_TOTAL, |_| true);
        let errors = self.connection_errors("redis");
        Traffic::new(
            [
                ("level_two_hits", looked_up("shared")),
                ("level_two_misses", looked_up("missed")),
                ("limits", limits),
            ],
            [("operations", operations), ("errors", errors)],
        )
    }

    pub(super) fn of_nodes(&self) -> Traffic {
        let attempts = self.total(names::INFERENCE_ATTEMPTS_TOTAL, |_| true);
        let failed = self.total(names::INFERENCE_ATTEMPTS_TOTAL, |counter| {
            label(counter, "outcome") != "opened"
        });
        Traffic::new([("attempts", attempts)], [("errors", failed)])
    }

    fn connection_errors(&self, to: &str) -> u64 {
        self.total(names::CONNECTION_ERRORS_TOTAL, |counter| {
            label(counter, "to") == to
        })
    }
}

fn label<'a>(counter: &'a Counter, name: &str) -> &'a str {
    counter.labels.get(name).map_or("", String::as_str)
}

/// Counters are whole numbers that a metric keeps as a float.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "totals are small and never negative"
)]
fn whole(total: f64) -> u64 {
    total.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counter(name: &str, labels: &[(&str, &str)], value: f64) -> Counter {
        let labels = labels.iter();
        Counter {
            name: name.to_owned(),
            labels: labels
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            value,
        }
    }

    #[test]
    fn net_03_what_probes_send_is_no_use() {
        let probes = [
            counter("db_queries_total", &[("query_type", "ping")], 7.0),
            counter("messages_published_total", &[("outcome", "ok")], 3.0),
            counter("messages_consumed_total", &[], 3.0),
            counter("message_echoes_total", &[("from", "automation-agent")], 3.0),
            counter("api_request_total", &[("endpoint", "/readyz")], 9.0),
            counter(
                "redis_operations_total",
                &[("operation", "cache.open")],
                4.0,
            ),
        ];
        let tally = Tally(probes.iter().collect());
        let unused = [
            tally.of_postgres(),
            tally.of_broker(),
            tally.of_redis(),
            tally.of_service(ServiceName::Backend),
        ];
        assert!(unused.iter().all(|traffic| !traffic.used));
        assert_eq!(unused[2].counters["operations"], 4);
    }

    #[test]
    fn net_03_work_and_errors_are_counted_over_all_labels() {
        let seen = [
            counter("db_queries_total", &[("query_type", "task.create")], 2.0),
            counter("db_queries_total", &[("query_type", "task.get")], 3.0),
            counter("connection_errors_total", &[("to", "postgres")], 1.0),
            counter("connection_errors_total", &[("to", "redis")], 5.0),
        ];
        let traffic = Tally(seen.iter().collect()).of_postgres();
        assert!(traffic.used);
        let expected = [("errors", 1), ("queries", 5)];
        let expected = expected.map(|(name, total)| (name.to_owned(), total));
        assert_eq!(traffic.counters, expected.into());
    }
}
