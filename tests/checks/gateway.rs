//! The committed configuration of the gateway: right for the API, and for the services behind it.

use std::{collections::BTreeSet, str::FromStr};

use sutazai_gateway::{
    check::{Fault, check},
    deadlines,
    kong::{
        conf::Conf,
        entity::Declaration,
        plugin::Plugin,
        router::{Request, Router},
    },
    model::Class,
    openapi::Document,
    routes::ROUTES,
};
use sutazai_mesh::catalog::ServiceName;

use crate::tree::Tree;

const DECLARATION: &str = "kong/kong.yml";
const CONF: &str = "kong/kong.conf";
const API: &str = "crates/backend/openapi.json";
/// Routes to what no document describes: the documentation itself, and the dialects of others.
const UNDESCRIBED: [&str; 4] = ["openapi", "docs", "openai", "ollama"];

fn text<'a>(tree: &'a Tree, path: &str) -> &'a str {
    tree.text(path).expect(path)
}

fn faults(tree: &Tree) -> Vec<Fault> {
    let declaration = Declaration::from_yaml(text(tree, DECLARATION)).expect(DECLARATION);
    let conf = Conf::parse(text(tree, CONF)).expect(CONF);
    let document = Document::parse(text(tree, API)).expect(API);
    check(&declaration, &conf, &document)
}

#[test]
fn kng_01_the_committed_configuration_has_no_faults() {
    assert_eq!(faults(&crate::repository()), []);
}

#[test]
fn a_planted_path_without_a_route_is_found() {
    let repository = crate::repository();
    let api = r#"{"paths":{"/api/v1/unheard":{"get":{"security":[]}}}}"#;
    let tree = Tree::of([
        (DECLARATION, text(&repository, DECLARATION)),
        (CONF, text(&repository, CONF)),
        (API, api),
    ]);
    let path = "/api/v1/unheard".to_owned();
    assert_eq!(faults(&tree), [Fault::NoRoute { path }]);
}

#[test]
fn api_21_every_route_is_there_for_a_path_of_the_api() {
    let repository = crate::repository();
    let declaration = Declaration::from_yaml(text(&repository, DECLARATION)).expect(DECLARATION);
    let document = Document::parse(text(&repository, API)).expect(API);
    let router = Router::new(&declaration).expect("patterns");
    let taken: BTreeSet<_> = document
        .operations()
        .filter_map(|operation| {
            let path = operation.sample();
            let found = router.matches(Request {
                path: &path,
                authorization: None,
            });
            found.first().map(|way| way.route.name.as_str())
        })
        .collect();
    let idle: Vec<_> = ROUTES
        .iter()
        .map(|route| route.name)
        .filter(|name| !taken.contains(name))
        .filter(|name| !UNDESCRIBED.contains(name))
        .collect();
    assert!(
        idle.is_empty(),
        "routes that no path of the API takes: {idle:?}"
    );
}

#[test]
fn kng_04_the_committed_file_limits_logins_whatever_credential_comes_along() {
    let repository = crate::repository();
    let declaration = Declaration::from_yaml(text(&repository, DECLARATION)).expect(DECLARATION);
    let router = Router::new(&declaration).expect("patterns");
    let key = format!("Bearer sutazai_dev_{}", "a".repeat(38));
    let rate = Class::Login.rate();
    let limit = |plugin: &Plugin| {
        matches!(plugin, Plugin::RateLimiting { second, minute, .. }
            if (*second, *minute) == (rate.second, rate.minute))
    };
    for authorization in [None, Some("Bearer e30.e30.AA"), Some(key.as_str())] {
        let found = router.matches(Request {
            path: "/api/v1/auth/login",
            authorization,
        });
        let route = found.first().expect("a route").route;
        assert!(
            route.plugins.iter().any(limit),
            "{authorization:?}: {route:?}"
        );
    }
}

#[test]
fn a_planted_file_whose_logins_lose_their_limits_is_found() {
    let repository = crate::repository();
    let mut declaration =
        Declaration::from_yaml(text(&repository, DECLARATION)).expect(DECLARATION);
    for service in &mut declaration.services {
        service.routes.retain(|route| route.name != "login-api-key");
    }
    let planted = declaration.to_yaml().expect("YAML");
    let tree = Tree::of([
        (DECLARATION, planted.as_str()),
        (CONF, text(&repository, CONF)),
        (API, text(&repository, API)),
    ]);
    let expected = Fault::OtherLimits {
        path: "/api/v1/auth/login".to_owned(),
        route: "login".to_owned(),
        by: "auth-api-key".to_owned(),
    };
    assert_eq!(faults(&tree), [expected]);
}

#[test]
fn port_04_every_host_in_the_file_is_a_service() {
    let repository = crate::repository();
    let hosts = text(&repository, DECLARATION).lines().filter_map(|line| {
        let (key, value) = line.trim_start_matches([' ', '-']).split_once(": ")?;
        ["host", "target"].contains(&key).then_some(value)
    });
    let hosts: Vec<_> = hosts
        .map(|host| {
            host.trim_matches('"')
                .split([':', '.'])
                .next()
                .unwrap_or_default()
        })
        .collect();
    assert!(hosts.len() >= 5, "{hosts:?}");
    for host in hosts {
        assert!(ServiceName::from_str(host).is_ok(), "{host} is no service");
    }
}

#[test]
fn the_gateway_waits_longer_than_the_model_fleet() {
    let sample = sutazai_cli::environment::example();
    let total = sample
        .lines()
        .find_map(|line| {
            line.trim_start_matches('#')
                .strip_prefix("OLLAMA_TOTAL_SECONDS=")
        })
        .expect("the fleet's limit of an answer");
    let total: u64 = total.parse().expect("seconds");
    assert_eq!(deadlines::INFERENCE_TOTAL.as_secs(), total);
    assert!(deadlines::STREAMING.as_secs() > total);
}
