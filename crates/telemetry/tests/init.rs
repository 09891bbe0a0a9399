//! The one start in a process: metrics with their help texts, and a second start.

use sutazai_telemetry::{Config, Format, init, metrics, names};

#[test]
fn starting_twice_succeeds_and_metrics_are_told() {
    assert_eq!(metrics::render(), "");
    let config = Config {
        format: Format::Json,
        filter: "off".to_owned(),
        ..Config::default()
    };
    let guard = init(&config).unwrap();
    let second = init(&config).unwrap();
    drop(second);

    for status in ["200", "404"] {
        let labels = [
            ("method", "GET"),
            ("endpoint", "/health"),
            ("status", status),
        ];
        ::metrics::counter!(names::API_REQUEST_TOTAL, &labels).increment(2);
        ::metrics::histogram!(names::API_REQUEST_DURATION_SECONDS, &labels).record(0.02);
    }
    ::metrics::gauge!(names::ACTIVE_CONNECTIONS, "service" => "backend").set(7);

    let text = metrics::render();
    for line in [
        "# HELP api_request_total HTTP requests answered.",
        "# TYPE api_request_total counter",
        r#"api_request_total{method="GET",endpoint="/health",status="404"} 2"#,
        "# TYPE api_request_duration_seconds histogram",
        r#"api_request_duration_seconds_bucket{method="GET",endpoint="/health",status="200",le="0.025"} 1"#,
        r#"active_connections{service="backend"} 7"#,
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }
    let totals = metrics::totals();
    assert_eq!(totals.get(names::API_REQUEST_TOTAL), Some(&4.0));
    assert_eq!(totals.get(names::API_REQUEST_DURATION_SECONDS), Some(&2.0));
    assert_eq!(
        totals.get(names::ACTIVE_CONNECTIONS),
        None,
        "a gauge has no total"
    );
    drop(guard);
}

#[test]
fn a_malformed_filter_is_refused() {
    let config = Config {
        format: Format::Json,
        filter: "backend=loud".to_owned(),
        ..Config::default()
    };
    assert!(init(&config).is_err());
}
