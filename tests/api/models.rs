//! `/api/v1/models`: the models of all nodes, merged.

use serde_json::{Value, json};
use sutazai_testkit::ollama::Script;
use system_tests::{Setup, eventually};

use crate::members;

const PATH: &str = "/api/v1/models";

fn find<'a>(list: &'a Value, name: &str) -> &'a Value {
    let mut items = list["items"].as_array().into_iter().flatten();
    items
        .find(|model| model["name"] == name)
        .unwrap_or(&Value::Null)
}

#[tokio::test]
async fn api_06_models_are_merged_over_nodes_with_what_is_loaded_where() {
    let stage = Setup::default()
        .node(Script::new(["shared:latest", "alpha:1b"]).loaded(["shared:latest"]))
        .node(Script::new(["shared:latest", "beta:7b"]))
        .setting("OLLAMA_CHECK_SECONDS", "0.2")
        .start()
        .await;
    let client = stage.admin();
    let list = client.get(PATH).await;
    assert_eq!(list.status, 200, "{}", list.text);
    let names: Vec<&str> = list
        .items()
        .iter()
        .filter_map(|model| model["name"].as_str())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let nodes: Vec<Value> = stage
        .nodes
        .iter()
        .map(|node| json!(node.address().to_string()))
        .collect();

    let shared = find(&list.json, "shared:latest");
    assert_eq!(
        members(shared),
        [
            "default",
            "digest",
            "family",
            "loaded",
            "loaded_on",
            "modified_at",
            "name",
            "nodes",
            "parameter_size",
            "quantization",
            "size_bytes",
        ]
    );
    assert_eq!(shared["nodes"], json!(nodes), "{shared}");
    assert_eq!(
        (&shared["loaded"], &shared["loaded_on"]),
        (&json!(true), &json!([nodes[0]]))
    );
    assert_eq!(
        (&shared["default"], &list.json["default_model"]),
        (&json!(true), &shared["name"])
    );
    assert_eq!(shared["parameter_size"], "1.1B");
    assert!(shared["size_bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    assert!(
        shared["digest"]
            .as_str()
            .is_some_and(|digest| digest.len() == 64),
        "{shared}"
    );
    for (name, node) in [("alpha:1b", &nodes[0]), ("beta:7b", &nodes[1])] {
        let model = find(&list.json, name);
        assert_eq!(model["nodes"], json!([node]), "{model}");
        assert_eq!(
            (&model["loaded"], &model["default"]),
            (&json!(false), &json!(false))
        );
    }

    stage.nodes[1].kill();
    eventually("the list of one node", async || {
        let list = client.get(PATH).await;
        assert_eq!(list.status, 200, "{}", list.text);
        let gone = find(&list.json, "beta:7b").is_null();
        (gone && find(&list.json, "shared:latest")["nodes"] == json!([nodes[0]])).then_some(())
    })
    .await;
    stage.stop().await;
}
