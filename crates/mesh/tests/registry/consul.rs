//! The registry over a real Consul: what is seen there, and what faults of either side do.

use std::time::Duration;

use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{
    Foreign, Instance, InstanceId, Registry, RegistryError, Watch,
    consul::{Registration, Settings},
};
use sutazai_telemetry::Config;
use tokio::time::{Instant, sleep, timeout};

use super::running::Running;
use super::stage::{Stage, registry};
use super::waiting::{PATIENCE, shows};

const BACKEND: ServiceName = ServiceName::Backend;
/// An instance is back this long after its agent at the latest.
const BACK: Duration = Duration::from_secs(15);
const TOKEN: &str = "9d3c3a52-0f5a-4a2e-8e4e-5b3f0c6a7d10";

/// What `curl` shows.
async fn passing(stage: &Stage) -> String {
    let path = "/v1/health/service/backend?passing";
    let answer = stage.consul.request("GET", path, None, "").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

async fn until(mut reached: impl AsyncFnMut() -> bool, limit: Duration) {
    let waiting = async {
        while !reached().await {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(limit, waiting).await.expect("it does not happen");
}

#[tokio::test]
async fn msh_01_a_registered_instance_is_seen_passing_with_all_that_is_known_of_it() {
    let stage = Stage::start().await;
    let registry = registry(Settings {
        zone: Some("zone-b".to_owned()),
        weight: std::num::NonZeroU16::new(3),
        ..stage.settings()
    });
    let running = Running::start("backend-1", BACKEND);
    let lease = registry.register(running.instance.clone()).await.unwrap();
    until(
        async || passing(&stage).await.contains("backend-1"),
        PATIENCE,
    )
    .await;
    // It stays so when Consul has asked at both doors itself; its agent tells with what result.
    let asked = async || {
        let path = "/v1/agent/checks";
        let checks = stage.consul.request("GET", path, None, "").await.unwrap();
        checks.body.contains("HTTP GET http://") && checks.body.contains("gRPC check")
    };
    until(asked, PATIENCE).await;
    // In its development mode Consul sets its answers out over many lines.
    let body = passing(&stage).await.replace(char::is_whitespace, "");
    for part in [
        r#""Service":"backend""#,
        r#""version":"0.1.0""#,
        r#""protocol":"grpc""#,
        r#""zone":"a""#,
        r#""weight":"3""#,
        r#""Passing":3"#,
        r#""version=0.1.0""#,
        &format!(r#""Port":{}"#, running.instance.http.unwrap().port()),
        &format!(r#""grpc_port":"{}""#, running.instance.grpc.port()),
        &format!(r#""http_port":"{}""#, running.instance.http.unwrap().port()),
    ] {
        assert!(body.contains(part), "{part} is not in {body}");
    }
    lease.close().await.unwrap();
    assert_eq!(passing(&stage).await, "[]", "it is out at once");
}

#[tokio::test]
async fn msh_03_an_instance_whose_checks_fail_is_still_entered() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let running = Running::start("backend-1", BACKEND);
    let id = running.instance.id.clone();
    let lease = registry.register(running.instance.clone()).await.unwrap();
    drop(running);
    until(async || passing(&stage).await == "[]", PATIENCE).await;
    let entered = registry.entered(BACKEND).await.unwrap();
    assert_eq!(entered.len(), 1, "{entered:?}");
    assert_eq!(entered[0].id, id);
    lease.close().await.unwrap();
    assert_eq!(registry.entered(BACKEND).await.unwrap(), []);
}

#[tokio::test]
async fn msh_01_an_instance_without_a_port_is_found_by_watches() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let instance = Instance {
        id: InstanceId::new("automation-agent-1"),
        service: ServiceName::AutomationAgent,
        grpc: ([127, 0, 0, 1], 0).into(),
        http: None,
        version: "0.1.0".to_owned(),
        meta: [("zone".to_owned(), "a".to_owned())].into(),
    };
    let mut watch = registry.watch(ServiceName::AutomationAgent);
    let lease = registry.register(instance.clone()).await.unwrap();
    shows(&mut watch, &[&instance]).await;
    lease.close().await.unwrap();
}

#[tokio::test]
async fn msh_02_connection_and_index_are_shown() {
    let _telemetry = sutazai_telemetry::init(&Config::default()).unwrap();
    let stage = Stage::start().await;
    let registry = stage.registry();
    let running = Running::start("backend-1", BACKEND);
    let mut watch = registry.watch(BACKEND);
    let lease = registry.register(running.instance.clone()).await.unwrap();
    shows(&mut watch, &[&running.instance]).await;
    let before = registry.progress()["backend"].clone();
    assert!(
        before.index.unwrap() > 0 && before.failure.is_none(),
        "{before:?}"
    );
    let evidence = registry.ping().await.unwrap();
    for part in [
        "leader 127.0.0.1:",
        "1 of 1 registrations",
        "backend: 1 at index",
    ] {
        assert!(evidence.contains(part), "{evidence}");
    }

    // The index moves with the catalogue.
    let other = Running::start("backend-2", BACKEND);
    let second = registry.register(other.instance.clone()).await.unwrap();
    shows(&mut watch, &[&running.instance, &other.instance]).await;
    let index = |registry: &sutazai_mesh::registry::consul::ConsulRegistry| {
        registry.progress()["backend"].index
    };
    until(async || index(&registry) > before.index, PATIENCE).await;

    let crashed = stage.crash().await;
    until(
        async || registry.progress()["backend"].failure.is_some(),
        PATIENCE,
    )
    .await;
    assert!(matches!(
        registry.ping().await,
        Err(RegistryError::Unavailable { .. })
    ));
    assert_eq!(watch.current().len(), 2, "the last good list is kept");
    let _stage = crashed.start().await;
    until(async || registry.ping().await.is_ok(), PATIENCE).await;

    lease.close().await.unwrap();
    second.close().await.unwrap();
    let totals = sutazai_telemetry::metrics::totals();
    assert!(totals["registry_requests_total"] >= 1.0, "{totals:?}");
    assert!(totals["registry_registration_seconds"] >= 2.0, "{totals:?}");
}

#[tokio::test]
async fn msh_07_a_registration_takes_less_than_200_ms() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let mut times = Vec::new();
    for number in 0..9 {
        let running = Running::start(&format!("backend-{number}"), BACKEND);
        let began = Instant::now();
        let lease = registry.register(running.instance.clone()).await.unwrap();
        times.push(began.elapsed());
        lease.close().await.unwrap();
    }
    times.sort();
    // The median: this machine may be busy with other things.
    assert!(times[4] < Duration::from_millis(200), "{times:?}");
}

#[tokio::test]
async fn msh_04_an_agent_that_lost_its_state_has_the_instance_again_within_15_s() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let running = Running::start("backend-1", BACKEND);
    let mut watch = registry.watch(BACKEND);
    let lease = registry.register(running.instance.clone()).await.unwrap();
    shows(&mut watch, &[&running.instance]).await;
    let stage = stage.crash().await.start().await;
    assert_eq!(passing(&stage).await, "[]", "it lost its state");
    until(async || passing(&stage).await.contains("backend-1"), BACK).await;
    // Nobody who watches saw it go: an empty list is not believed while the instance answers.
    assert_eq!(
        watch.current()[..],
        *std::slice::from_ref(&running.instance)
    );
    lease.close().await.unwrap();
}

#[tokio::test]
async fn msh_04_a_consul_that_is_away_at_the_start_has_the_instance_within_15_s() {
    let crashed = Stage::start().await;
    let settings = crashed.settings();
    let crashed = crashed.crash().await;
    let registry = registry(settings);
    let running = Running::start("backend-1", BACKEND);
    let mut watch = registry.watch(BACKEND);
    let began = Instant::now();
    let lease = registry.register(running.instance.clone()).await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "a start waits for it"
    );
    let id = &running.instance.id;
    assert_eq!(registry.registrations()[id], Registration::Pending);

    let stage = crashed.start().await;
    let back = Instant::now();
    shows(&mut watch, &[&running.instance]).await;
    assert!(back.elapsed() < BACK, "{:?}", back.elapsed());
    until(
        async || registry.registrations()[id] == Registration::Entered,
        PATIENCE,
    )
    .await;
    assert!(passing(&stage).await.contains("backend-1"));
    lease.close().await.unwrap();
}

#[tokio::test]
async fn msh_04_a_killed_instance_is_critical_and_gone_from_watches_within_3_s() {
    let stage = Stage::start().await;
    // With the default interval between two checks.
    let registry = registry(Settings::new(stage.consul.address()));
    let one = Running::start("backend-1", BACKEND);
    let two = Running::start("backend-2", BACKEND);
    let mut watch = registry.watch(BACKEND);
    let leases = (
        registry.register(one.instance.clone()).await.unwrap(),
        registry.register(two.instance.clone()).await.unwrap(),
    );
    shows(&mut watch, &[&one.instance, &two.instance]).await;
    let (first, second) = (one.instance.clone(), two.instance.clone());
    one.kill();
    let killed = Instant::now();
    shows(&mut watch, &[&second]).await;
    assert!(
        killed.elapsed() < Duration::from_secs(3),
        "{:?}",
        killed.elapsed()
    );
    let path = "/v1/health/state/critical";
    let critical = stage.consul.request("GET", path, None, "").await.unwrap();
    assert!(critical.body.contains(first.id.as_str()), "{critical:?}");

    // The last one too: nobody answers, so an empty list is believed.
    two.kill();
    let killed = Instant::now();
    shows(&mut watch, &[]).await;
    assert!(
        killed.elapsed() < Duration::from_secs(4),
        "{:?}",
        killed.elapsed()
    );
    leases.0.close().await.unwrap();
    leases.1.close().await.unwrap();
}

#[tokio::test]
async fn msh_04_of_two_instances_with_one_id_the_later_one_stays() {
    let stage = Stage::start().await;
    let quick = Settings {
        reconcile_every: Duration::from_millis(200),
        ..stage.settings()
    };
    let registries = (registry(quick.clone()), registry(quick));
    let (earlier, later) = (
        Running::start("backend-1", BACKEND),
        Running::start("backend-1", BACKEND),
    );
    let mut watch = registries.0.watch(BACKEND);
    let first = registries
        .0
        .register(earlier.instance.clone())
        .await
        .unwrap();
    shows(&mut watch, &[&earlier.instance]).await;
    let second = registries.1.register(later.instance.clone()).await.unwrap();
    shows(&mut watch, &[&later.instance]).await;
    let id = &earlier.instance.id;
    until(
        async || registries.0.registrations()[id] == Registration::Replaced,
        PATIENCE,
    )
    .await;
    // They do not take turns, and the earlier one takes nothing away when it leaves.
    first.close().await.unwrap();
    sleep(Duration::from_millis(600)).await;
    assert_eq!(watch.current()[..], *std::slice::from_ref(&later.instance));
    assert_eq!(registries.1.registrations()[id], Registration::Entered);
    second.close().await.unwrap();
}

#[tokio::test]
async fn msh_04_a_refused_registration_fails_the_start() {
    let stage = Stage::with_token(TOKEN).await;
    let running = Running::start("backend-1", BACKEND);
    let refused = stage.registry().register(running.instance.clone()).await;
    assert!(
        matches!(refused, Err(RegistryError::Refused { .. })),
        "{refused:?}"
    );
    let allowed = registry(Settings {
        token: Some(TOKEN.to_owned().into()),
        ..stage.settings()
    });
    let lease = allowed.register(running.instance.clone()).await.unwrap();
    lease.close().await.unwrap();
}

#[tokio::test]
async fn olp_05_nodes_of_others_are_followed_with_their_facts() {
    async fn shown(watch: &mut Watch<Foreign>, expected: &[(&str, u16, Option<&str>)]) {
        let seen = |list: &[Foreign]| {
            let of = |node: &Foreign| {
                let weight = node.meta.get("weight").cloned();
                (node.host.clone(), node.port, weight)
            };
            list.iter().map(of).collect::<Vec<_>>()
        };
        let expected: Vec<_> = expected
            .iter()
            .map(|(host, port, weight)| ((*host).to_owned(), *port, weight.map(str::to_owned)))
            .collect();
        let reached = timeout(PATIENCE, async {
            while seen(&watch.current()) != expected {
                assert!(watch.changed().await);
            }
        });
        assert!(reached.await.is_ok(), "{:?}", watch.current());
    }
    let stage = Stage::start().await;
    let registry = stage.registry();
    let mut watch = registry.watch_foreign("ollama");
    let enter = async |body: &str| {
        let path = "/v1/agent/service/register";
        let answer = stage.consul.request("PUT", path, None, body).await.unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
    };
    enter(r#"{"ID":"gpu-1","Name":"ollama","Address":"gpu-1.lan","Port":11434}"#).await;
    shown(&mut watch, &[("gpu-1.lan", 11434, None)]).await;
    enter(r#"{"ID":"gpu-2","Name":"ollama","Port":11435,"Meta":{"weight":"2"}}"#).await;
    shown(
        &mut watch,
        &[("gpu-1.lan", 11434, None), ("127.0.0.1", 11435, Some("2"))],
    )
    .await;
    enter(r#"{"ID":"gpu-2","Name":"ollama","Port":11435,"Meta":{"weight":"5"}}"#).await;
    shown(
        &mut watch,
        &[("gpu-1.lan", 11434, None), ("127.0.0.1", 11435, Some("5"))],
    )
    .await;
    let path = "/v1/agent/service/deregister/gpu-1";
    stage.consul.request("PUT", path, None, "").await.unwrap();
    shown(&mut watch, &[("127.0.0.1", 11435, Some("5"))]).await;
}

#[tokio::test]
async fn a_quiet_catalogue_costs_one_open_request_for_each_service() {
    let _telemetry = sutazai_telemetry::init(&Config::default()).unwrap();
    let stage = Stage::start().await;
    let registry = stage.registry();
    let watches = [registry.watch(BACKEND), registry.watch(BACKEND)];
    until(
        async || {
            let progress = registry.progress();
            progress
                .get("backend")
                .is_some_and(|p| p.answered.is_some())
        },
        PATIENCE,
    )
    .await;
    let answered = registry.progress()["backend"].answered;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(
        registry.progress()["backend"].answered,
        answered,
        "it polls"
    );
    assert!(watches.iter().all(|watch| watch.current().is_empty()));
}
