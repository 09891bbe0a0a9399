//! The configuration that is written for Kong.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, str::FromStr};

use sutazai_gateway::{
    kong::{
        self, Site, TokenKey,
        conf::{self, Conf},
        entity::{Declaration, Route, Service},
        plugin::Plugin,
        router::{Request, Router},
    },
    model::Entry,
    routes::ROUTES,
};
use sutazai_mesh::catalog::ServiceName;

const KEY: &str = "Bearer sutazai_dev_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const TOKEN: &str = "Bearer e30.e30.AA";

fn rendered() -> Declaration {
    kong::declaration(&Site::default())
}

fn routes(declaration: &Declaration) -> impl Iterator<Item = (&Service, &Route)> {
    let services = declaration.services.iter();
    services.flat_map(|service| service.routes.iter().map(move |route| (service, route)))
}

fn taken(path: &str, authorization: Option<&str>) -> (String, String) {
    let declaration = rendered();
    let request = Request {
        path,
        authorization,
    };
    let router = Router::new(&declaration).unwrap();
    let found = router.matches(request);
    found.first().map_or_else(Default::default, |way| {
        (way.service.name.clone(), way.route.name.clone())
    })
}

/// Returns what is done with a request by the route that it takes.
fn plugins(path: &str, authorization: Option<&str>) -> Vec<Plugin> {
    let declaration = rendered();
    let (_, name) = taken(path, authorization);
    let mut all = routes(&declaration);
    let (_, route) = all.find(|(_, route)| route.name == name).unwrap();
    route.plugins.clone()
}

#[test]
fn port_04_every_host_is_a_service_of_the_enum() {
    let declaration = rendered();
    let mut hosts = 0;
    for service in &declaration.services {
        ServiceName::from_str(&service.host).unwrap();
        hosts += 1;
    }
    for upstream in &declaration.upstreams {
        let service = ServiceName::from_str(&upstream.name).unwrap();
        for target in &upstream.targets {
            assert_eq!(target.target, format!("{service}.service.consul:8000"));
            hosts += 1;
        }
    }
    assert_eq!(
        hosts, 5,
        "two entities of the backend, one of the fleet, two targets"
    );
}

#[test]
fn api_21_the_backend_is_service_backend_on_its_port() {
    let declaration = rendered();
    let backend = &declaration.services[0];
    assert_eq!(backend.name, ServiceName::Backend.as_str());
    assert_eq!((backend.host.as_str(), backend.port), ("backend", 8000));
    assert_eq!((backend.protocol.as_str(), backend.enabled), ("http", true));
    for path in [
        "/docs",
        "/docs/index.css",
        "/redoc",
        "/openapi.json",
        "/api/v1/system/status",
    ] {
        assert_eq!(taken(path, None).0, "backend", "{path}");
    }
}

#[test]
fn kng_05_ordinary_and_streaming_entities_wait_as_long_as_the_ladder_says() {
    for service in rendered().services {
        let times = [service.connect_timeout, service.write_timeout];
        assert_eq!(times, [60_000, 60_000], "{}", service.name);
        assert_eq!(service.retries, 5, "{}", service.name);
        let streams = service.name != ServiceName::Backend.as_str();
        let read = if streams { 620_000 } else { 60_000 };
        assert_eq!(service.read_timeout, read, "{}", service.name);
        for route in service.routes {
            assert_eq!(route.response_buffering, !streams, "{}", route.name);
        }
    }
}

#[test]
fn kng_05_what_waits_for_a_model_is_on_a_streaming_entity() {
    for (path, service) in [
        ("/api/v1/chat", "backend-streaming"),
        ("/api/v1/chat/conversations/1", "backend-streaming"),
        ("/api/v1/tasks/1/events", "backend-streaming"),
        ("/api/v1/tasks/1", "backend"),
        ("/api/v1/tasks", "backend"),
        ("/v1/chat/completions", "ollama-proxy"),
        ("/ollama/api/chat", "ollama-proxy"),
        ("/api/chat", ""),
        ("/api/v1/auth/login/x", "backend"),
        ("/metrics", ""),
        ("/", ""),
    ] {
        assert_eq!(taken(path, None).0, service, "{path}");
    }
}

#[test]
fn api_22_ollamas_own_paths_lose_their_prefix_and_no_others_do() {
    let declaration = rendered();
    let stripped: BTreeSet<_> = routes(&declaration)
        .filter(|(_, route)| route.strip_path)
        .flat_map(|(_, route)| route.paths.clone())
        .collect();
    assert_eq!(stripped, BTreeSet::from(["/ollama/".to_owned()]));
}

#[test]
fn kng_06_instances_are_asked_every_30_seconds_and_watched() {
    for upstream in rendered().upstreams {
        let checks = upstream.healthchecks;
        assert_eq!(checks.active.http_path, "/health");
        let pauses = [
            checks.active.healthy.interval,
            checks.active.unhealthy.interval,
        ];
        assert_eq!(pauses, [30, 30]);
        assert!(checks.passive.unhealthy.tcp_failures > 0);
        assert!(
            checks.active.healthy.successes > 0,
            "nobody would come back"
        );
    }
}

#[test]
fn kng_07_prometheus_is_global_and_cheap() {
    let declaration = rendered();
    let everywhere = declaration.plugins.iter();
    let counted: Vec<_> = everywhere
        .filter(|plugin| plugin.name() == "prometheus")
        .collect();
    let expected = Plugin::Prometheus {
        per_consumer: false,
        status_code_metrics: true,
        latency_metrics: false,
        bandwidth_metrics: false,
        upstream_health_metrics: false,
    };
    assert_eq!(counted, [&expected]);
    for (_, route) in routes(&declaration) {
        assert!(
            !route
                .plugins
                .iter()
                .any(|plugin| plugin.name() == "prometheus")
        );
    }
}

#[test]
fn kng_04_every_route_has_limits_and_every_credential_a_way() {
    let declaration = rendered();
    for (_, route) in routes(&declaration) {
        let names: Vec<_> = route.plugins.iter().map(Plugin::name).collect();
        assert!(
            names.starts_with(&["rate-limiting", "request-size-limiting"]),
            "{names:?}"
        );
    }
    let path = "/api/v1/models";
    assert_eq!(taken(path, Some(TOKEN)).1, "models");
    assert_eq!(taken(path, Some(KEY)).1, "models-api-key");
    for wrong in [
        "",
        "Basic x",
        &KEY[..KEY.len() - 1],
        &format!("{KEY}a"),
        &format!("x{KEY}"),
    ] {
        assert_eq!(taken(path, Some(wrong)).1, "models", "{wrong}");
    }
    let names: BTreeSet<_> = declaration.plugins.iter().map(Plugin::name).collect();
    for name in [
        "correlation-id",
        "request-transformer",
        "response-transformer",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn kng_04_only_routes_with_keys_ask_for_no_token() {
    let declaration = rendered();
    for row in ROUTES {
        let asks = |name: &str| {
            let (_, route) = routes(&declaration)
                .find(|(_, route)| route.name == name)
                .unwrap();
            route.plugins.iter().any(|plugin| plugin.name() == "jwt")
        };
        let guarded = row.admission == sutazai_gateway::model::Admission::Credential;
        assert_eq!(asks(row.name), guarded, "{}", row.name);
        assert!(!asks(&format!("{}-api-key", row.name)), "{}", row.name);
    }
}

#[test]
fn kng_04_a_login_has_its_own_limits_whatever_credential_comes_along() {
    let path = "/api/v1/auth/login";
    assert_eq!(taken(path, None).1, "login");
    assert_eq!(taken(path, Some(TOKEN)).1, "login");
    assert_eq!(taken(path, Some(KEY)).1, "login-api-key");
    let login = [
        Plugin::RateLimiting {
            second: 5,
            minute: 30,
            limit_by: "ip".to_owned(),
            policy: "local".to_owned(),
        },
        Plugin::RequestSizeLimiting {
            allowed_payload_size: 32,
            size_unit: "kilobytes".to_owned(),
        },
    ];
    for authorization in [None, Some(TOKEN), Some(KEY), Some("Basic x"), Some("")] {
        assert_eq!(plugins(path, authorization), login, "{authorization:?}");
    }
}

#[test]
fn kng_04_no_credential_changes_what_an_open_route_does() {
    for path in [
        "/health",
        "/api/health",
        "/api/v1/health",
        "/openapi.json",
        "/docs",
        "/docs/index.css",
        "/redoc",
        "/.well-known/jwks.json",
        "/api/v1/auth/jwks",
    ] {
        let without = plugins(path, None);
        for authorization in [TOKEN, KEY, "Basic x"] {
            let with = plugins(path, Some(authorization));
            assert_eq!(with, without, "{path} with {authorization}");
        }
    }
}

#[test]
fn kng_10_the_settings_keep_memory_small() {
    let conf = Conf::parse(&conf::text()).unwrap();
    for (name, value) in [
        ("database", "off"),
        ("mem_cache_size", "16m"),
        ("nginx_worker_processes", "1"),
        ("nginx_events_worker_connections", "2048"),
        ("admin_gui_listen", "off"),
        ("anonymous_reports", "off"),
        ("proxy_access_log", "off"),
    ] {
        assert_eq!(conf.get(name), Some(value), "{name}");
    }
    assert_eq!(conf.plugins().unwrap(), Plugin::NAMES);
}

#[test]
fn keys_and_origins_are_there_when_a_site_has_them() {
    let site = Site {
        keys: vec![TokenKey {
            id: "kid".to_owned(),
            pem: "-----BEGIN PUBLIC KEY-----\nAA\n-----END PUBLIC KEY-----\n".to_owned(),
        }],
        origins: vec!["https://app.example.com".to_owned()],
    };
    let declaration = kong::declaration(&site);
    let yaml = declaration.to_yaml().unwrap();
    assert_eq!(Declaration::from_yaml(&yaml).unwrap(), declaration);
    let secret = &declaration.consumers[0].jwt_secrets[0];
    assert_eq!(
        (secret.key.as_str(), secret.algorithm.as_str()),
        ("kid", "EdDSA")
    );
    assert!(
        declaration
            .plugins
            .iter()
            .any(|plugin| plugin.name() == "cors")
    );

    let committed = rendered();
    assert!(
        committed.consumers[0].jwt_secrets.is_empty(),
        "no keys are committed"
    );
    assert!(
        !committed
            .plugins
            .iter()
            .any(|plugin| plugin.name() == "cors")
    );
}

#[test]
fn every_entry_has_a_route() {
    for entry in Entry::ALL {
        assert!(ROUTES.iter().any(|route| route.entry == entry), "{entry:?}");
    }
}
