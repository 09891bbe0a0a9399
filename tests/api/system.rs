//! `/api/v1/system/status`: how the platform stands.

use chrono::{DateTime, Utc};
use serde_json::json;
use sutazai_cli::configuration::SERVICES;
use sutazai_mesh::catalog::ServiceName;
use system_tests::Stage;

use crate::members;

const PATH: &str = "/api/v1/system/status";

#[tokio::test]
async fn api_10_the_status_shows_versions_dependencies_and_every_instance() {
    let stage = Stage::shared().await;
    let answer = stage.admin().get(PATH).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let status = &answer.json;
    assert_eq!(
        members(status),
        [
            "dependencies",
            "instance_id",
            "profile",
            "registry",
            "resources",
            "started_at",
            "status",
            "uptime_seconds",
            "version",
        ]
    );
    assert_eq!(status["status"], "ok", "{}", answer.text);
    assert_eq!(
        (&status["version"], &status["profile"]),
        (&json!(env!("CARGO_PKG_VERSION")), &json!("dev"))
    );
    let started: DateTime<Utc> = status["started_at"]
        .as_str()
        .expect("a time")
        .parse()
        .expect("a time");
    let up = status["uptime_seconds"].as_i64().expect("seconds");
    assert!(
        ((Utc::now() - started).num_seconds() - up).abs() <= 5,
        "{started} {up}"
    );

    let dependencies = status["dependencies"].as_array().expect("dependencies");
    let names: Vec<_> = dependencies
        .iter()
        .filter_map(|part| part["name"].as_str())
        .collect();
    assert_eq!(names, ["database", "registry"]);
    for part in dependencies {
        assert_eq!(part["ok"], true, "{part}");
        assert!(
            part["evidence"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{part}"
        );
        assert!(
            part["duration_ms"].as_f64().is_some_and(|took| took > 0.0),
            "{part}"
        );
    }
    assert!(
        dependencies[0]["counters"]
            .as_object()
            .is_some_and(|totals| totals.values().any(|total| total.as_u64() > Some(0))),
        "the database carried nothing: {}",
        dependencies[0]
    );

    assert_eq!(status["registry"]["kind"], "memory");
    let services = status["registry"]["services"].as_array().expect("services");
    assert_eq!(services.len(), SERVICES.len());
    for service in SERVICES {
        let found = services.iter().find(|one| one["name"] == service.as_str());
        let instances = &found.unwrap_or_else(|| panic!("no {service}"))["instances"];
        assert_eq!(instances.as_array().map(Vec::len), Some(1), "{service}");
        let (instance, at) = (&instances[0], stage.addresses(service));
        assert_eq!(instance["ready"], true, "{instance}");
        assert_eq!(instance["grpc"], at.grpc.to_string());
        assert_eq!(instance["http"], at.http.to_string());
        assert_eq!(instance["version"], env!("CARGO_PKG_VERSION"));
        assert!(instance["started_at"].is_string() && instance.get("error").is_none());
        let own = service == ServiceName::Backend;
        assert_eq!(instance["id"] == status["instance_id"], own, "{instance}");
    }

    let resources = &status["resources"];
    for number in ["memory_bytes", "threads", "open_files"] {
        assert!(
            resources[number].as_u64().is_some_and(|number| number > 0),
            "{resources}"
        );
    }
    let pool = &resources["database_connections"];
    assert!(
        pool["open"].as_u64() <= pool["max"].as_u64() && pool["open"].as_u64() > Some(0),
        "{pool}"
    );
}

#[tokio::test]
async fn api_10_the_status_is_for_administrators() {
    let user = Stage::shared().await.newcomer();
    user.get(PATH)
        .await
        .assert_problem(403, "missing_permission");
}

#[tokio::test]
async fn api_10_a_service_that_stopped_degrades_the_status() {
    let stage = Stage::start().await;
    let admin = stage.admin();
    assert_eq!(admin.get(PATH).await.json["status"], "ok");
    stage
        .platform
        .stop_service(ServiceName::AutomationAgent)
        .await;
    let status = admin.get(PATH).await.json;
    assert_eq!(status["status"], "degraded", "{status}");
    let services = status["registry"]["services"].as_array().expect("services");
    let gone = services
        .iter()
        .find(|one| one["name"] == "automation-agent");
    assert_eq!(gone.expect("the service")["instances"], json!([]));
    stage.stop().await;
}
