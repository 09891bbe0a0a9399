//! Nodes that run models, entered in Consul by whoever operates them.

use reqwest::Method;
use serde_json::{Value, json};
use sutazai_mesh::catalog::ServiceName;
use sutazai_testkit::ollama::{FakeNode, Script};
use system_tests::{Answer, Client};

use crate::platform::{Platform, shared, within};

/// Sends a request to Consul as whoever enters nodes does: plain HTTP, nothing of ours.
async fn put(platform: &Platform, path: &str, body: Value) {
    let consul = Client::new(&platform.servers().consul, None);
    let request = consul.request(Method::PUT, path).json(&body);
    let request = request.header("X-Consul-Token", platform.consul_token("node"));
    let answer = consul.send(request).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
}

async fn enter(platform: &Platform, node: &FakeNode) {
    let address = node.address();
    let entry = json!({
        "ID": address.to_string(),
        "Name": "ollama",
        "Address": address.ip(),
        "Port": address.port(),
        "Meta": {"weight": "2"},
    });
    put(platform, "/v1/agent/service/register", entry).await;
}

async fn take_out(platform: &Platform, node: &FakeNode) {
    let path = format!("/v1/agent/service/deregister/{}", node.address());
    put(platform, &path, Value::Null).await;
}

/// Waits until every instance of the model fleet has, or has no more, the node of this model.
async fn everywhere(platform: &Platform, model: &str, there: bool) {
    let instances = &platform.description().replicas[ServiceName::OllamaProxy.as_str()];
    let key = platform.admin();
    for at in instances {
        let door = Client::new(&format!("http://{}", at.http), None);
        let door = door.with_credential(key.credential());
        within(&format!("{model} at {}: {there}", at.http), async || {
            let answer = door.get(&format!("/v1/models/{model}")).await;
            ((answer.status == 200) == there).then_some(())
        })
        .await;
    }
}

async fn chat(platform: &Platform, model: &str) -> Answer {
    let body = json!({"message": "hello", "model": model});
    platform.admin().post("/api/v1/chat", body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn olp_05_a_node_entered_in_consul_answers_until_it_is_taken_out() {
    let platform = shared().await;
    // Two of them: a list that becomes empty is doubted for a while.
    let [leaving, staying] = ["leaving:latest", "staying:latest"];
    let node = |model| FakeNode::start(Script::new([model]).tokens(["said by ", model]));
    let nodes = (node(leaving).await, node(staying).await);
    enter(&platform, &nodes.0).await;
    enter(&platform, &nodes.1).await;
    for model in [leaving, staying] {
        everywhere(&platform, model, true).await;
        let answer = chat(&platform, model).await;
        let said = format!("said by {model}");
        assert_eq!(answer.json["response"], said, "{}", answer.text);
    }
    // The node of the static list works on beside them.
    let answer = chat(&platform, "tinyllama:latest").await;
    assert_eq!(answer.status, 200, "{}", answer.text);

    take_out(&platform, &nodes.0).await;
    everywhere(&platform, leaving, false).await;
    let answer = chat(&platform, leaving).await;
    assert_eq!(answer.status, 404, "{}", answer.text);
    let answer = chat(&platform, staying).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(nodes.0.requests_to("/api/chat").len(), 1);
    take_out(&platform, &nodes.1).await;
}
