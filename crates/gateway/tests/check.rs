//! Nothing is wrong with what is written; every planted fault is found.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use sutazai_gateway::{
    check::{Fault, check, memory},
    kong::{
        self, Site,
        conf::{self, Conf},
        entity::{Declaration, Service},
        plugin::Plugin,
    },
    openapi::Document,
};

/// The API as it is committed.
const API: &str = include_str!("../../backend/openapi.json");

fn written() -> Declaration {
    kong::declaration(&Site::default())
}

fn faults_of(declaration: &Declaration, conf: &str, api: &str) -> Vec<Fault> {
    check(
        declaration,
        &Conf::parse(conf).unwrap(),
        &Document::parse(api).unwrap(),
    )
}

/// Plants a fault into the configuration and returns what is found.
fn planted(plant: impl FnOnce(&mut Declaration)) -> Vec<Fault> {
    let mut declaration = written();
    plant(&mut declaration);
    faults_of(&declaration, &conf::text(), API)
}

fn set(name: &str, value: &str) -> String {
    format!("{}\n{name} = {value}\n", conf::text())
}

fn service<'a>(declaration: &'a mut Declaration, name: &str) -> &'a mut Service {
    let mut services = declaration.services.iter_mut();
    services.find(|service| service.name == name).unwrap()
}

#[test]
fn kng_01_what_is_written_has_no_faults() {
    assert_eq!(planted(|_| {}), []);
    let site = Site {
        origins: vec!["https://app.example.com".to_owned()],
        ..Site::default()
    };
    assert_eq!(faults_of(&kong::declaration(&site), &conf::text(), API), []);
}

#[test]
fn port_04_a_dead_host_is_found() {
    for host in [
        "resource-manager",
        "backend-api",
        "sutazai-backend",
        "backend.service.example",
    ] {
        let found = planted(|declaration| declaration.services[0].host = host.to_owned());
        let dead =
            |fault: &Fault| matches!(fault, Fault::DeadHost { host: named, .. } if named == host);
        assert!(found.iter().any(dead), "{host}: {found:?}");
    }
    let found = planted(|declaration| {
        declaration.upstreams[0].targets[0].target = "resource-manager:8000".to_owned();
    });
    assert!(
        matches!(found.as_slice(), [Fault::DeadHost { .. }]),
        "{found:?}"
    );
    // A service of the platform, and not the one that this upstream is named after.
    let found = planted(|declaration| {
        let other = declaration.upstreams[1].name.clone();
        declaration.upstreams[0].targets[0].target = format!("{other}:8000");
    });
    assert!(
        matches!(found.as_slice(), [Fault::DeadHost { .. }]),
        "{found:?}"
    );
}

#[test]
fn an_upstream_that_is_missing_or_unused_is_found() {
    let found = planted(|declaration| {
        declaration.upstreams.remove(0);
    });
    assert_eq!(found.len(), 2, "both entities of the backend: {found:?}");
    assert!(matches!(found[0], Fault::NoUpstream { .. }), "{found:?}");
    let found = planted(|declaration| {
        let mut unused = declaration.upstreams[0].clone();
        unused.name = sutazai_mesh::catalog::ServiceName::TaskCoordinator.to_string();
        unused.targets.clear();
        declaration.upstreams.push(unused);
    });
    assert!(
        matches!(found.as_slice(), [Fault::UnusedUpstream { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_name_twice_is_found() {
    let found = planted(|declaration| {
        let again = declaration.services[0].routes[0].clone();
        service(declaration, "backend-streaming").routes.push(again);
    });
    let same = |fault: &Fault| matches!(fault, Fault::SameName { kind: "routes", .. });
    assert!(found.iter().any(same), "{found:?}");
}

#[test]
fn two_routes_for_the_same_requests_are_found() {
    let found = planted(|declaration| {
        let mut again = declaration.services[0].routes[0].clone();
        again.name = "health-again".to_owned();
        declaration.services[0].routes.push(again);
    });
    let same = |fault: &Fault| matches!(fault, Fault::SameRoute { .. });
    assert!(!found.is_empty() && found.iter().all(same), "{found:?}");
}

#[test]
fn a_shadowed_route_is_found() {
    // A pattern goes before every prefix, however long that is.
    let found = planted(|declaration| {
        let mut greedy = declaration.services[0].routes[0].clone();
        greedy.name = "greedy".to_owned();
        greedy.paths = vec!["~/api/v1/agents/[^/]+$".to_owned()];
        declaration.services[0].routes.push(greedy);
    });
    let shadowed = |fault: &Fault| matches!(fault, Fault::Shadowed { route, by, .. } if route == "agents" && by == "greedy");
    assert!(found.iter().any(shadowed), "{found:?}");
}

#[test]
fn a_pattern_that_cannot_be_judged_is_found() {
    for pattern in [
        "~/api/v1/(tasks|agents)$",
        "~/api/v1/tasks",
        "~/api.v1/tasks$",
        "~/api/(",
        "~/a/.*$",
    ] {
        let found = planted(|declaration| {
            declaration.services[0].routes[0]
                .paths
                .push(pattern.to_owned());
        });
        let unreadable = |fault: &Fault| matches!(fault, Fault::Unreadable { .. });
        assert!(found.iter().any(unreadable), "{pattern}: {found:?}");
    }
}

#[test]
fn api_21_a_missing_route_is_found() {
    let found = planted(|declaration| {
        let routes = &mut service(declaration, "backend").routes;
        routes.retain(|route| !route.name.starts_with("models"));
    });
    let expected = Fault::NoRoute {
        path: "/api/v1/models".to_owned(),
    };
    assert_eq!(found, [expected]);
}

#[test]
fn api_21_an_unknown_family_is_found_and_a_new_path_in_a_family_is_not() {
    let api = |path: &str| {
        format!(r#"{{"paths":{{"{path}":{{"get":{{"security":[{{"bearer":[]}}]}}}}}}}}"#)
    };
    for path in ["/api/v1/unheard", "/api/v1/chatbot", "/api/v1", "/metrics"] {
        let found = faults_of(&written(), &conf::text(), &api(path));
        assert_eq!(
            found,
            [Fault::NoRoute {
                path: path.to_owned()
            }],
            "{path}"
        );
    }
    for path in [
        "/api/v1/tasks/dead-letters/{id}/redrive",
        "/api/v1/agents/{id}/runs",
        "/api/v1/chat",
    ] {
        assert_eq!(
            faults_of(&written(), &conf::text(), &api(path)),
            [],
            "{path}"
        );
    }
}

#[test]
fn kng_04_a_path_past_the_wrong_guard_is_found() {
    let found = planted(|declaration| {
        let routes = service(declaration, "backend").routes.iter_mut();
        let agents = routes.filter(|route| route.name == "agents");
        agents.for_each(|route| route.plugins.retain(|plugin| plugin.name() != "jwt"));
    });
    let unguarded =
        |fault: &Fault| matches!(fault, Fault::Unguarded { route, .. } if route == "agents");
    assert!(
        !found.is_empty() && found.iter().all(unguarded),
        "{found:?}"
    );

    let found = planted(|declaration| {
        let routes = &mut service(declaration, "backend").routes;
        let token = routes.iter().flat_map(|route| &route.plugins);
        let token = token
            .clone()
            .find(|plugin| plugin.name() == "jwt")
            .unwrap()
            .clone();
        routes
            .iter_mut()
            .find(|route| route.name == "login")
            .unwrap()
            .plugins
            .push(token);
    });
    let closed = |fault: &Fault| matches!(fault, Fault::Closed { route, .. } if route == "login");
    assert!(!found.is_empty() && found.iter().all(closed), "{found:?}");
}

#[test]
fn kng_04_a_credential_that_brings_other_limits_is_found() {
    // As it once was: exact paths without a second route lose to their family's, which has a
    // condition more.
    let open = ["health", "openapi", "docs", "jwks", "login"].map(|name| format!("{name}-api-key"));
    let found = planted(|declaration| {
        let routes = &mut service(declaration, "backend").routes;
        routes.retain(|route| !open.contains(&route.name));
    });
    let expected = ["jwks", "login"].map(|route| Fault::OtherLimits {
        path: format!("/api/v1/auth/{route}"),
        route: route.to_owned(),
        by: "auth-api-key".to_owned(),
    });
    assert_eq!(found, expected);

    // Either limit alone, and where no document describes the path.
    for limit in ["rate-limiting", "request-size-limiting"] {
        let found = planted(|declaration| {
            let routes = service(declaration, "backend").routes.iter_mut();
            let docs = routes.filter(|route| route.name == "docs-api-key");
            docs.for_each(|route| route.plugins.retain(|plugin| plugin.name() != limit));
        });
        let of_docs =
            |fault: &Fault| matches!(fault, Fault::OtherLimits { route, .. } if route == "docs");
        assert!(
            found.len() == 2 && found.iter().all(of_docs),
            "{limit}: {found:?}"
        );
    }
}

#[test]
fn kng_06_hasty_health_checks_are_found() {
    let found = planted(|declaration| {
        declaration.upstreams[0]
            .healthchecks
            .active
            .unhealthy
            .interval = 5;
    });
    assert!(
        matches!(found.as_slice(), [Fault::HastyCheck { seconds: 5, .. }]),
        "{found:?}"
    );
}

#[test]
fn sec_11_an_open_list_of_origins_is_found() {
    for origins in [
        vec![],
        vec!["*".to_owned()],
        vec![r".*\.example\.com".to_owned()],
    ] {
        let found = planted(|declaration| {
            declaration.plugins.push(Plugin::Cors {
                origins,
                methods: Vec::new(),
                headers: Vec::new(),
                exposed_headers: Vec::new(),
                credentials: true,
                max_age: 1,
            });
        });
        assert_eq!(found, [Fault::EveryOrigin]);
    }
}

#[test]
fn kng_07_costly_metrics_are_found() {
    let found = planted(|declaration| {
        declaration.services[0].routes[0]
            .plugins
            .push(Plugin::Prometheus {
                per_consumer: true,
                status_code_metrics: true,
                latency_metrics: false,
                bandwidth_metrics: true,
                upstream_health_metrics: false,
            });
    });
    assert_eq!(
        found,
        ["each consumer", "bytes"].map(|what| Fault::CostlyMetrics { what })
    );
}

#[test]
fn a_plugin_that_is_not_loaded_is_found() {
    let found = faults_of(&written(), &set("plugins", "jwt,prometheus"), API);
    let names: Vec<_> = found
        .iter()
        .map(|fault| match fault {
            Fault::NotLoaded { plugin } => plugin.as_str(),
            other => panic!("{other}"),
        })
        .collect();
    assert_eq!(
        names,
        [
            "correlation-id",
            "rate-limiting",
            "request-size-limiting",
            "request-transformer",
            "response-transformer"
        ]
    );
}

#[test]
fn kng_10_the_budget_is_counted_from_the_settings() {
    let budget = memory::Budget::of(&Conf::parse(&conf::text()).unwrap()).unwrap();
    // As measured: 25 and 71 MiB.
    assert_eq!(
        (budget.master.div_ceil(1024), budget.workers / 1024),
        (25, 71)
    );
    assert!(budget.mebibytes() <= memory::LIMIT, "{budget:?}");
    assert!(budget.mebibytes() > 130, "{budget:?}");
    let bundled = memory::Budget::of(&Conf::parse(&set("plugins", "bundled")).unwrap()).unwrap();
    assert_eq!(
        (bundled.master.div_ceil(1024), bundled.workers / 1024),
        (45, 145)
    );
}

#[test]
fn kng_08_a_budget_above_the_limit_is_refused() {
    for (name, value) in [
        ("nginx_worker_processes", "2"),
        ("nginx_events_worker_connections", "16384"),
        ("mem_cache_size", "128m"),
        ("plugins", "bundled"),
    ] {
        let found = faults_of(&written(), &set(name, value), API);
        assert!(
            matches!(found.as_slice(), [Fault::Memory { .. }]),
            "{name}: {found:?}"
        );
    }
    for (name, value) in [
        ("nginx_worker_processes", "auto"),
        ("mem_cache_size", "plenty"),
    ] {
        let found = faults_of(&written(), &set(name, value), API);
        assert!(
            matches!(found.as_slice(), [Fault::NoSize { .. }]),
            "{name}: {found:?}"
        );
    }
    // What is not set at all has Kong's own defaults, which are far too large.
    let found = faults_of(
        &written(),
        "nginx_worker_processes = 1\nnginx_events_worker_connections = 512\n",
        API,
    );
    assert!(
        matches!(found.as_slice(), [Fault::Memory { .. }]),
        "{found:?}"
    );
}

#[test]
fn a_field_that_is_never_written_is_refused() {
    let yaml = written().to_yaml().unwrap();
    Declaration::from_yaml(&yaml).unwrap();
    for (right, wrong) in [
        ("read_timeout: 60000", "read_time: 60000"),
        ("policy: local", "policy: local\n          redis_host: x"),
        ("name: jwt", "name: oauth2"),
    ] {
        let planted = yaml.replacen(right, wrong, 1);
        assert_ne!(planted, yaml, "{right} is not there");
        Declaration::from_yaml(&planted).unwrap_err();
    }
    Conf::parse("database off").unwrap_err();
}
