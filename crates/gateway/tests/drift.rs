//! What is loaded against what was written.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use serde_json::{Value, json};
use sutazai_gateway::{
    drift::compare,
    kong::{self, Site, TokenKey},
};

/// Changes what is loaded.
type Change = fn(&mut Value);

fn written() -> Value {
    serde_json::to_value(kong::declaration(&Site::default())).unwrap()
}

/// Returns the configuration as a Kong answers it: side by side, with ids, times and defaults.
fn loaded() -> Value {
    let mut top = written();
    let mut routes = Vec::new();
    let mut plugins = top["plugins"].take().as_array().unwrap().clone();
    let mut targets = Vec::new();
    for (at, service) in top["services"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .enumerate()
    {
        let id = format!("00000000-0000-0000-0000-00000000000{at}");
        for mut route in service["routes"].take().as_array().unwrap().clone() {
            for mut plugin in route["plugins"].take().as_array().unwrap().clone() {
                plugin["route"] = route["name"].clone();
                plugins.push(plugin);
            }
            route.as_object_mut().unwrap().remove("plugins");
            route["service"] = json!(id);
            route["regex_priority"] = json!(0);
            route["https_redirect_status_code"] = json!(426);
            route["path_handling"] = json!("v0");
            route["snis"] = Value::Null;
            routes.push(route);
        }
        let service = service.as_object_mut().unwrap();
        service.remove("routes");
        service.insert("id".to_owned(), json!(id));
        service.insert("created_at".to_owned(), json!(1_700_000_000));
        service.insert("ca_certificates".to_owned(), Value::Null);
    }
    for upstream in top["upstreams"].as_array_mut().unwrap() {
        for mut target in upstream["targets"].take().as_array().unwrap().clone() {
            target["upstream"] = json!({"name": upstream["name"]});
            targets.push(target);
        }
        upstream.as_object_mut().unwrap().remove("targets");
        upstream["slots"] = json!(10000);
        upstream["healthchecks"]["threshold"] = json!(0);
    }
    for plugin in &mut plugins {
        plugin["enabled"] = json!(true);
        plugin["protocols"] = json!(["grpc", "grpcs", "http", "https"]);
        if plugin["name"] == "rate-limiting" {
            plugin["config"]["fault_tolerant"] = json!(true);
            plugin["config"]["error_code"] = json!(429);
            plugin["config"]["redis"] = json!({"port": 6379, "host": null, "timeout": 2000});
            plugin["config"]["redis_port"] = json!(6379);
            plugin["config"]["redis_host"] = Value::Null;
            plugin["config"]["redis_timeout"] = json!(2000);
        }
    }
    top["routes"] = json!(routes);
    top["plugins"] = json!(plugins);
    top["targets"] = json!(targets);
    top["_transform"] = json!(false);
    top
}

fn differences(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut loaded = loaded();
    change(&mut loaded);
    let found = compare(&written(), &loaded).unwrap();
    found.iter().map(ToString::to_string).collect()
}

fn named<'a>(loaded: &'a mut Value, kind: &str, name: &str) -> &'a mut Value {
    let mut entities = loaded[kind].as_array_mut().unwrap().iter_mut();
    entities.find(|entity| entity["name"] == name).unwrap()
}

#[test]
fn kng_11_what_kong_fills_in_is_no_difference() {
    assert_eq!(differences(|_| {}), Vec::<String>::new());
    assert_eq!(compare(&written(), &written()).unwrap(), []);
}

#[test]
fn kng_11_every_change_is_a_difference() {
    let changes: [(&str, Change); 10] = [
        ("services backend: read_timeout", |kong| {
            named(kong, "services", "backend")["read_timeout"] = json!(1);
        }),
        ("routes tasks: paths", |kong| {
            named(kong, "routes", "tasks")["paths"] = json!(["/"]);
        }),
        (
            "routes tasks: methods is [\"GET\"] and was never written",
            |kong| {
                named(kong, "routes", "tasks")["methods"] = json!(["GET"]);
            },
        ),
        ("routes tasks: service", |kong| {
            named(kong, "routes", "tasks")["service"] = json!("elsewhere");
        }),
        ("services backend: enabled", |kong| {
            named(kong, "services", "backend")["enabled"] = json!(false);
        }),
        ("routes stranger is loaded and was never written", |kong| {
            kong["routes"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "stranger", "paths": ["/"]}));
        }),
        ("certificates x is loaded", |kong| {
            kong["certificates"] = json!([{"name": "x"}]);
        }),
        ("plugins prometheus: config.per_consumer", |kong| {
            named(kong, "plugins", "prometheus")["config"]["per_consumer"] = json!(true);
        }),
        (
            "plugins rate-limiting of health: config.redis_port",
            |kong| {
                named(kong, "plugins", "rate-limiting")["config"]["redis_port"] = json!(1);
            },
        ),
        ("plugins correlation-id is not loaded", |kong| {
            let plugins = kong["plugins"].as_array_mut().unwrap();
            plugins.retain(|plugin| plugin["name"] != "correlation-id");
        }),
    ];
    for (expected, change) in changes {
        let found = differences(change);
        assert_eq!(found.len(), 1, "{expected}: {found:?}");
        assert!(found[0].starts_with(expected), "{expected}: {found:?}");
    }
}

#[test]
fn kng_11_the_secret_that_kong_makes_up_for_a_key_is_no_difference() {
    let site = Site {
        keys: vec![TokenKey {
            id: "kid".to_owned(),
            pem: "pem".to_owned(),
        }],
        ..Site::default()
    };
    let written = serde_json::to_value(kong::declaration(&site)).unwrap();
    let with = |secret: &str| {
        let mut all = written.clone();
        all["consumers"][0]["jwt_secrets"][0]["secret"] = json!(secret);
        all
    };
    assert_eq!(compare(&written, &with("made up")).unwrap(), []);
    assert_eq!(compare(&with("chosen"), &with("chosen")).unwrap(), []);
    // One that was written counts like any other field.
    for loaded in [with("made up"), written.clone()] {
        let found = compare(&with("chosen"), &loaded).unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        let (entity, field) = (found[0].entity.as_str(), found[0].field.as_deref());
        assert_eq!((entity, field), ("jwt_secrets kid", Some("secret")));
    }
}

#[test]
fn what_is_no_configuration_is_an_error() {
    for wrong in [
        json!(1),
        json!({"services": 1}),
        json!({"services": [1]}),
        json!({"routes": [{}]}),
    ] {
        compare(&written(), &wrong).unwrap_err();
    }
}
