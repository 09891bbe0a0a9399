//! The stand-in of Consul: it answers as a real one, and its faults do no harm.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use serde_json::Value;
use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{
    Registry, RegistryError, Watch,
    consul::{ConsulRegistry, Settings},
};
use sutazai_resilience::Deadline;
use sutazai_testkit::consul::{FakeConsul, Faults};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::running::Running;
use super::stage::{Stage, registry};
use super::waiting::{PATIENCE, shows};

const BACKEND: ServiceName = ServiceName::Backend;

/// What a client can see of an answer.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    status: u16,
    has_index: bool,
    /// Kind of each value by its path; the parts of a list share one.
    shape: BTreeMap<String, &'static str>,
}

async fn ask(address: SocketAddr, request: &str) -> Seen {
    let mut parts = request.splitn(3, ' ');
    let [method, path, body] = [(); 3].map(|()| parts.next().unwrap_or_default());
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let mut shape = BTreeMap::new();
    if let Ok(value) = serde_json::from_str(body) {
        describe("", &value, &mut shape);
    }
    Seen {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        has_index: head.to_lowercase().contains("x-consul-index:"),
        shape,
    }
}

fn describe(path: &str, value: &Value, shape: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    shape.insert(path.to_owned(), kind);
    match value {
        Value::Array(items) => items
            .iter()
            .for_each(|item| describe(&format!("{path}[]"), item, shape)),
        Value::Object(fields) => fields
            .iter()
            .for_each(|(name, field)| describe(&format!("{path}.{name}"), field, shape)),
        _ => {}
    }
}

/// All that a client of ours asks, and how else it may be asked; in this order.
const REQUESTS: [&str; 40] = [
    "GET /v1/status/leader",
    "GET /v1/status/peers",
    "GET /v1/agent/services",
    "GET /v1/catalog/services",
    "GET /v1/health/service/one",
    "GET /v1/health/service/one?passing=true",
    "GET /v1/health/service/one?passing=true&index=0",
    "GET /v1/health/service/one?passing=true&index=1&wait=1s",
    "GET /v1/health/service/one?index=no",
    "GET /v1/health/service/one?index=1&wait=no",
    "GET /v1/agent/service/one-1",
    "PUT /v1/agent/service/deregister/one-1",
    "PUT /v1/agent/check/pass/one-1:ttl",
    "PUT /v1/agent/service/register {",
    "PUT /v1/agent/service/register {}",
    r#"PUT /v1/agent/service/register {"ID":"nameless"}"#,
    r#"PUT /v1/agent/service/register {"ID":"one-1","Name":"one","Port":1,"Tags":["a"],"Meta":{"b":"c"},"Checks":[{"CheckID":"one-1:ttl","TTL":"60s","Status":"passing"}]}"#,
    "GET /v1/agent/service/one-1",
    "GET /v1/agent/services",
    "GET /v1/catalog/services",
    "GET /v1/health/service/one?passing=true",
    "GET /v1/health/service/one?passing=true&index=1&wait=1s",
    "GET /v1/health/service/two?passing=true",
    "PUT /v1/agent/check/pass/one-1:ttl",
    "PUT /v1/agent/check/pass/one-2:ttl",
    r#"PUT /v1/agent/service/register {"ID":"one-1","Name":"one","Port":2,"Address":"127.0.0.2","Weights":{"Passing":3,"Warning":1},"Checks":[{"CheckID":"one-1:ttl","TTL":"60s","Status":"passing"}]}"#,
    "GET /v1/agent/service/one-1",
    r#"PUT /v1/agent/service/register {"Name":"two"}"#,
    "GET /v1/agent/service/two",
    "GET /v1/agent/service/one",
    "GET /v1/health/service/one?passing=true",
    "PUT /v1/agent/service/deregister/two",
    "PUT /v1/agent/service/deregister/two",
    "GET /v1/agent/service/two",
    "GET /v1/agent/services",
    "PUT /v1/agent/service/deregister/one-1",
    "GET /v1/health/service/one?passing=true",
    "GET /v1/agent/services",
    "POST /v1/agent/service/register {}",
    "GET /v1/no/such/thing",
];

#[tokio::test]
async fn the_stand_in_answers_40_requests_as_a_real_one() {
    let stage = Stage::start().await;
    let real = SocketAddr::from(([127, 0, 0, 1], stage.consul.ports().http));
    let fake = FakeConsul::start().await;
    for request in REQUESTS {
        let answers = async || (ask(real, request).await, ask(fake.address(), request).await);
        // A real one shows what its agent knows in the catalogue a moment later.
        let give_up = Instant::now() + PATIENCE;
        loop {
            let (expected, found) = answers().await;
            let alike = expected.status == found.status
                && (found.has_index == expected.has_index || found.status != 200)
                // The stand-in need not show everything, but nothing of another kind.
                && found.shape.iter().all(|field| expected.shape.get_key_value(field.0) == Some(field));
            if alike {
                break;
            }
            let may_change = request.starts_with("GET");
            assert!(
                may_change && Instant::now() < give_up,
                "{request}\n real: {expected:?}\n stand-in: {found:?}"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn msh_03_a_first_look_waits_for_the_first_answer_and_not_beyond_its_deadline() {
    let fake = FakeConsul::start().await;
    let running = Running::start("backend-1", BACKEND);
    let entered = registry(Settings::new(fake.url()));
    let lease = entered.register(running.instance.clone()).await.unwrap();

    let later = registry(Settings::new(fake.url()));
    assert!(
        later.watch(BACKEND).current().is_empty(),
        "nothing is told yet"
    );
    let patience = Deadline::after(PATIENCE);
    let known = later.watch(BACKEND).known(patience).await;
    assert_eq!(*known, *std::slice::from_ref(&running.instance));
    // That there is nobody is an answer, too.
    let none = later
        .watch(ServiceName::AutomationAgent)
        .known(patience)
        .await;
    assert!(none.is_empty() && !patience.is_over());

    fake.set_faults(Faults {
        status: Some(500),
        ..Faults::default()
    });
    let silent = registry(Settings::new(fake.url()));
    let watch = silent.watch(BACKEND);
    let short = Deadline::after(Duration::from_millis(50));
    assert!(watch.known(short).await.is_empty());
    fake.set_faults(Faults::default());
    let known = watch.known(Deadline::after(PATIENCE)).await;
    assert_eq!(*known, *std::slice::from_ref(&running.instance));
    lease.close().await.unwrap();
}

/// A stand-in with a registry on it that watches one running instance.
struct Scene {
    fake: FakeConsul,
    registry: ConsulRegistry,
    running: Running,
    watch: Watch,
}

impl Scene {
    async fn start(doubt_empty_for: Duration) -> Self {
        let fake = FakeConsul::start().await;
        let registry = registry(Settings {
            doubt_empty_for,
            ..Settings::new(fake.url())
        });
        let running = Running::start("backend-1", BACKEND);
        let mut watch = registry.watch(BACKEND);
        let lease = registry.register(running.instance.clone()).await.unwrap();
        shows(&mut watch, &[&running.instance]).await;
        // It stays entered: these tests are about watches.
        std::mem::forget(lease);
        Self {
            fake,
            registry,
            running,
            watch,
        }
    }

    fn queries(&self) -> usize {
        let requests = self.fake.requests();
        let queries = requests.iter();
        queries
            .filter(|request| request.contains("/v1/health/"))
            .count()
    }

    /// Waits until the watch has its next request open.
    async fn waits(&self) {
        let open = async {
            loop {
                let index = self.registry.progress()["backend"].index.unwrap();
                let last = self.fake.requests();
                let last = last.iter().rfind(|line| line.contains("/v1/health/"));
                let beyond = |line: &String| line.contains(&format!("index={index}"));
                if last.is_some_and(beyond) {
                    return;
                }
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, open).await.unwrap();
    }

    async fn failure_is(&self, shown: bool) {
        let reached = async {
            while self.registry.progress()["backend"].failure.is_some() != shown {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(PATIENCE, reached).await.unwrap();
    }

    /// Another instance is seen: the watch lives.
    async fn follows(&mut self) {
        let other = Running::start("backend-2", BACKEND);
        let lease = self
            .registry
            .register(other.instance.clone())
            .await
            .unwrap();
        shows(&mut self.watch, &[&self.running.instance, &other.instance]).await;
        lease.close().await.unwrap();
        shows(&mut self.watch, &[&self.running.instance]).await;
    }
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn msh_03_errors_keep_the_last_list_and_are_asked_about_ever_more_slowly() {
    let mut scene = Scene::start(LONG).await;
    scene.fake.set_faults(Faults {
        status: Some(500),
        ..Faults::default()
    });
    scene.failure_is(true).await;
    let before = scene.queries();
    sleep(Duration::from_secs(3)).await;
    let queries = scene.queries() - before;
    assert!(queries <= 10, "{queries} queries in 3 s");
    assert_eq!(scene.watch.current().len(), 1);
    let ping = scene.registry.ping().await;
    assert!(
        matches!(ping, Err(RegistryError::Unavailable { .. })),
        "{ping:?}"
    );

    scene.fake.set_faults(Faults::default());
    scene.failure_is(false).await;
    scene.follows().await;
}

#[tokio::test]
async fn msh_02_an_index_that_goes_back_does_not_stop_the_watch() {
    let mut scene = Scene::start(LONG).await;
    scene.waits().await;
    let index = || scene.registry.progress()["backend"].index.unwrap();
    let before = index();
    // Again and again: the stand-in notes a query a moment before it holds it.
    let turned = async {
        while index() >= before {
            scene.fake.turn_index_back();
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, turned).await.unwrap();
    let began = Instant::now();
    scene.follows().await;
    // A query beyond the old index would have been answered after 55 s.
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn msh_03_an_empty_list_is_not_believed_while_the_instance_answers() {
    let scene = Scene::start(LONG).await;
    scene.fake.set_faults(Faults {
        empty: true,
        ..Faults::default()
    });
    sleep(Duration::from_millis(2_500)).await;
    assert_eq!(scene.watch.current().len(), 1, "it still answers");
    let Scene {
        running,
        mut watch,
        registry: _registry,
        fake: _fake,
    } = scene;
    running.kill();
    shows(&mut watch, &[]).await;
}

#[tokio::test]
async fn msh_03_an_empty_list_is_believed_in_the_end() {
    let mut scene = Scene::start(Duration::from_secs(2)).await;
    scene.fake.set_faults(Faults {
        empty: true,
        ..Faults::default()
    });
    let began = Instant::now();
    shows(&mut scene.watch, &[]).await;
    assert!(began.elapsed() >= Duration::from_millis(1_900));
    scene.fake.set_faults(Faults::default());
    shows(&mut scene.watch, &[&scene.running.instance]).await;
}

#[tokio::test]
async fn msh_03_a_slow_consul_keeps_nobody_waiting() {
    let scene = Scene::start(LONG).await;
    scene.fake.set_faults(Faults {
        delay: Duration::from_secs(5),
        ..Faults::default()
    });
    let began = Instant::now();
    assert_eq!(scene.registry.watch(BACKEND).current().len(), 1);
    let other = Running::start("backend-2", BACKEND);
    let lease = scene
        .registry
        .register(other.instance.clone())
        .await
        .unwrap();
    let ping = scene.registry.ping().await;
    assert!(
        matches!(ping, Err(RegistryError::Unavailable { .. })),
        "{ping:?}"
    );
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "{:?}",
        began.elapsed()
    );

    scene.fake.set_faults(Faults::default());
    let Scene {
        mut watch,
        running,
        registry: _registry,
        fake: _fake,
    } = scene;
    shows(&mut watch, &[&running.instance, &other.instance]).await;
    lease.close().await.unwrap();
}

#[tokio::test]
async fn msh_04_lost_registrations_are_entered_again() {
    let scene = Scene::start(LONG).await;
    scene.waits().await;
    scene.fake.forget();
    let entered = async {
        loop {
            let requests = scene.fake.requests();
            let registers = requests
                .iter()
                .filter(|request| request.ends_with("/v1/agent/service/register"));
            if registers.count() == 2 {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(Duration::from_secs(15), entered).await.unwrap();
    assert_eq!(scene.watch.current().len(), 1);
}

#[tokio::test]
async fn nothing_is_asked_while_nothing_changes() {
    let scene = Scene::start(LONG).await;
    scene.waits().await;
    let before = scene.queries();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(scene.queries(), before);
}
