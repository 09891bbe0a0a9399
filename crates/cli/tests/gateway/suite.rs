//! What every Kong without a database does with our configuration.

use http::StatusCode;
use serde_json::{Value, json};
use sutazai_cli::gateway::admin::{Admin, Error, Taken};
use sutazai_gateway::{drift::compare, kong::entity::Declaration};
use sutazai_mesh::http::HttpClient;

use crate::{admin, full};

/// Runs everything over the Kong whose admin API is at `url`.
pub(crate) async fn run(url: &str) {
    let admin = admin(url);
    loads_what_is_rendered(&admin).await;
    says_that_nothing_changed(&admin).await;
    gives_back_what_it_takes(&admin).await;
    refuses_wrong_entities(&admin).await;
    refuses_other_writes(url).await;
}

async fn loads_what_is_rendered(admin: &Admin) {
    let declaration = full();
    let text = declaration.to_yaml().unwrap();
    assert_eq!(admin.load(&text).await.unwrap(), Taken::New);
    let loaded = admin.loaded().await.unwrap().document().unwrap();
    let written = serde_json::to_value(&declaration).unwrap();
    assert_eq!(compare(&written, &loaded).unwrap(), []);
}

async fn says_that_nothing_changed(admin: &Admin) {
    let text = full().to_yaml().unwrap();
    assert_eq!(admin.load(&text).await.unwrap(), Taken::New);
    assert_eq!(admin.load(&text).await.unwrap(), Taken::Same);
}

/// The way back of `apply`: what a Kong gives away it takes again.
async fn gives_back_what_it_takes(admin: &Admin) {
    let first = admin.loaded().await.unwrap();
    admin.load(&full().to_yaml().unwrap()).await.unwrap();
    assert_ne!(admin.loaded().await.unwrap(), first);
    assert_eq!(admin.load(&first.text).await.unwrap(), Taken::New);
    let again = admin.loaded().await.unwrap().document().unwrap();
    assert_eq!(compare(&first.document().unwrap(), &again).unwrap(), []);
}

/// A planted fault: what it does to a configuration, and where the error stands.
type Plant = (&'static str, fn(&mut Value), &'static str);

const PLANTS: [Plant; 17] = [
    (
        "no host",
        |all| drop(all["services"][0]["host"].take()),
        "/services/0/host",
    ),
    (
        "a port that is none",
        |all| all["services"][0]["port"] = json!(65536),
        "/services/0/port",
    ),
    (
        "a text for a number",
        |all| all["services"][0]["retries"] = json!("5"),
        "/services/0/retries",
    ),
    (
        "no such protocol",
        |all| all["services"][0]["protocol"] = json!("gopher"),
        "/services/0/protocol",
    ),
    (
        "a wrong field",
        |all| all["services"][0]["time_out"] = json!(1),
        "/services/0/time_out",
    ),
    (
        "a path without a slash",
        |all| all["services"][0]["routes"][0]["paths"][0] = json!("health"),
        "/services/0/routes/0/paths/0",
    ),
    (
        "a broken pattern",
        |all| all["services"][0]["routes"][0]["paths"][0] = json!("~/("),
        "/services/0/routes/0/paths/0",
    ),
    (
        "no such plugin",
        |all| all["plugins"][0]["name"] = json!("no-such"),
        "/plugins/0/name",
    ),
    (
        "a wrong setting",
        |all| all["plugins"][0]["config"]["generator"] = json!("dice"),
        "/plugins/0/config/generator",
    ),
    (
        "an unknown setting",
        |all| all["plugins"][0]["config"]["x"] = json!(1),
        "/plugins/0/config/x",
    ),
    (
        "a limit of nothing",
        |all| all["services"][0]["routes"][0]["plugins"][0]["config"]["second"] = json!(0),
        "/services/0/routes/0/plugins/0/config/second",
    ),
    (
        "checks too far apart",
        |all| all["upstreams"][0]["healthchecks"]["active"]["healthy"]["interval"] = json!(70000),
        "/upstreams/0/healthchecks/active/healthy/interval",
    ),
    (
        "a weight that is none",
        |all| all["upstreams"][0]["targets"][0]["weight"] = json!(-1),
        "/upstreams/0/targets/0/weight",
    ),
    (
        "no such algorithm",
        |all| all["consumers"][0]["jwt_secrets"][0]["algorithm"] = json!("none"),
        "/consumers/0/jwt_secrets/0/algorithm",
    ),
    (
        "a name twice",
        |all| all["services"][1]["name"] = all["services"][0]["name"].clone(),
        "/services",
    ),
    (
        "a reference to nobody",
        |all| all["plugins"][0]["service"] = json!("nowhere"),
        "/plugins",
    ),
    (
        "a key that is none",
        |all| all["consumers"][0]["jwt_secrets"][0]["rsa_public_key"] = json!("x"),
        "/consumers/0/jwt_secrets/0/rsa_public_key",
    ),
];

async fn refuses_wrong_entities(admin: &Admin) {
    let before = admin.loaded().await.unwrap();
    for (what, plant, at) in PLANTS {
        let mut all = serde_json::to_value(full()).unwrap();
        plant(&mut all);
        match admin.load(&all.to_string()).await {
            Err(Error::Refused { fields, message }) => {
                assert!(fields.pointer(at).is_some(), "{what}: {fields}");
                assert!(
                    message.starts_with("declarative config is invalid"),
                    "{message}"
                );
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let nonsense = admin.load("bobby tables").await;
    assert!(
        matches!(nonsense, Err(Error::Refused { .. })),
        "{nonsense:?}"
    );
    assert_eq!(
        admin.loaded().await.unwrap(),
        before,
        "a refusal changes nothing"
    );
}

async fn refuses_other_writes(url: &str) {
    let http = HttpClient::external(std::time::Duration::from_secs(5)).unwrap();
    let request = http.request(http::Method::POST, format!("{url}/routes"));
    let answer = http
        .send(request.json(&json!({"paths": ["/"]})))
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let body: Value = answer.json().await.unwrap();
    assert_eq!(body["name"], "operation unsupported");
}

/// The type is the same on both sides of the wire.
#[test]
fn a_configuration_survives_its_text() {
    let declaration = full();
    let text = declaration.to_yaml().unwrap();
    assert_eq!(Declaration::from_yaml(&text).unwrap(), declaration);
}
