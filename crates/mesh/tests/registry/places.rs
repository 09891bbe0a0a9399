//! Addresses whose owner goes and comes, or is another one by now.

use std::{sync::Arc, time::Duration};

use sutazai_mesh::registry::Registry;
use sutazai_mesh::{Mesh, ServiceName};
use sutazai_resilience::Breakers;
use tokio::time::{Instant, sleep};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::running::Running;
use super::stage::Stage;
use super::waiting::shows;

const CALLEE: ServiceName = ServiceName::TaskCoordinator;
/// How long an instance is there, and how long it is away.
const FLAP: Duration = Duration::from_secs(3);
const FLAPS: usize = 4;
/// Pause between two calls.
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn msh_04_an_instance_that_flaps_every_3_s_fails_no_call_and_works_while_it_is_there() {
    let stage = Stage::start().await;
    let registry = Arc::new(stage.registry());
    let steady = Running::start("task-coordinator-1", CALLEE);
    let mut flapping = Running::start("task-coordinator-2", CALLEE);
    let (steadys, flappings) = (steady.instance.clone(), flapping.instance.clone());
    let mut watch = registry.watch(CALLEE);
    let _leases = (
        registry.register(steadys.clone()).await.unwrap(),
        registry.register(flappings.clone()).await.unwrap(),
    );
    shows(&mut watch, &[&steadys, &flappings]).await;
    let breakers = Breakers::new();
    let mesh = Mesh::new(ServiceName::Backend, registry, breakers.clone());
    let mut client = HealthClient::new(mesh.channel(CALLEE));
    // The contract says nothing of these calls, so none of them is made twice once it was sent.
    let mut calls_for = async |time: Duration| {
        let until = Instant::now() + time;
        while Instant::now() < until {
            client.check(HealthCheckRequest::default()).await.unwrap();
            sleep(PAUSE).await;
        }
    };
    // Its breaker goes when Consul no longer lists it, and counts anew when it is back.
    let counted = || {
        let name = format!("grpc:{}", flappings.id);
        let breaker = breakers.list().into_iter().find(|one| one.name == name);
        breaker.map_or((0, 0), |one| (one.successes, one.failures))
    };
    for flap in 0..FLAPS {
        calls_for(FLAP).await;
        let (answered, failed) = counted();
        assert!(
            answered > 20 && failed == 0,
            "flap {flap}: {answered} answered, {failed} failed"
        );
        let id = flappings.id.as_str();
        let (grpc, http) = (flappings.grpc, flappings.http.unwrap());
        tokio::task::spawn_blocking(|| flapping.kill())
            .await
            .unwrap();
        // The caller hears of it as soon as its own task runs.
        until(async || counted().1 > 0).await;
        calls_for(FLAP).await;
        assert!(counted().1 <= 1, "flap {flap}: {:?}", counted());
        flapping = Running::at(id, CALLEE, grpc, http);
        shows(&mut watch, &[&steadys, &flappings]).await;
    }
}

async fn until(reached: impl AsyncFn() -> bool) {
    let waiting = async {
        while !reached().await {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let limit = Duration::from_secs(2);
    tokio::time::timeout(limit, waiting)
        .await
        .expect("it does not happen");
}

#[tokio::test]
async fn msh_04_another_service_at_the_address_of_a_dead_one_does_not_pass_for_it() {
    let stage = Stage::start().await;
    let registry = stage.registry();
    let dead = Running::start("task-coordinator-1", CALLEE);
    let entry = dead.instance.clone();
    let mut watch = registry.watch(CALLEE);
    let _lease = registry.register(entry.clone()).await.unwrap();
    shows(&mut watch, &[&entry]).await;
    tokio::task::spawn_blocking(|| dead.kill()).await.unwrap();
    // It is well, ready, and takes every connection.
    let other = Running::at(
        "ollama-proxy-1",
        ServiceName::OllamaProxy,
        entry.grpc,
        entry.http.unwrap(),
    );
    let mut others = registry.watch(ServiceName::OllamaProxy);
    let _other = registry.register(other.instance.clone()).await.unwrap();
    shows(&mut others, &[&other.instance]).await;
    let path = "/v1/health/service/task-coordinator?passing";
    let critical = tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            let answer = stage.consul.request("GET", path, None, "").await.unwrap();
            if answer.body == "[]" {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    });
    assert!(critical.await.is_ok(), "it passes for the dead one");
}
