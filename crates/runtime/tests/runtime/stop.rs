//! Who may delay the stop.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use axum::{Router, body::Body, routing::get};
use futures::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{
        Foreign, Instance, Lease, LeaseCloser, Registry, RegistryError, Watch,
        memory::MemoryRegistry,
    },
};
use sutazai_runtime::{
    Process, Shutdown,
    config::Base,
    service::{Builder, RunError},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{PATIENCE, Running, base};

fn process(grace: Duration) -> Builder {
    Process::builder(ServiceName::Backend, &base(grace))
}

/// A route that sends a frame every 10 ms for ever, and one that never answers.
fn endless() -> Router {
    let ticks = || async {
        let tick = tokio::time::interval(Duration::from_millis(10));
        let ticks = stream::unfold(tick, |mut tick| async {
            tick.tick().await;
            Some((Ok::<_, Infallible>("data: tick\n\n"), tick))
        });
        Body::from_stream(ticks)
    };
    Router::new()
        .route("/ticks", get(ticks))
        .route("/never", get(std::future::pending::<&'static str>))
}

fn request(path: &str) -> Request<Body> {
    Request::get(path)
        .body(Body::empty())
        .expect("a valid path")
}

#[tokio::test]
async fn open_requests_end_within_the_grace_and_new_ones_are_refused() {
    let gate = Arc::new((Notify::new(), Notify::new()));
    let inside = Arc::clone(&gate);
    let slow = move || {
        let inside = Arc::clone(&inside);
        async move {
            let (entered, release) = &*inside;
            entered.notify_one();
            release.notified().await;
            "done"
        }
    };
    let routes = Router::new().route("/slow", get(slow));
    let running = Arc::new(Running::start(process(PATIENCE).http(routes)).await);
    let asking = Arc::clone(&running);
    let asked = tokio::spawn(async move { asking.send(request("/slow")).await });
    let (entered, release) = &*gate;
    timeout(PATIENCE, entered.notified()).await.unwrap();
    running.shutdown.trigger();
    timeout(PATIENCE, async {
        while TcpStream::connect(running.addresses.http).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert!(
        !running.ended.is_finished(),
        "it did not wait for the open request"
    );
    release.notify_one();
    let answer = asked.await.unwrap();
    assert_eq!((answer.status, answer.text()), (StatusCode::OK, "done"));
    let running = Arc::into_inner(running).unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn streams_go_on_during_the_grace_and_are_cut_off_after_it() {
    let grace = Duration::from_millis(400);
    let running = Running::start(process(grace).http(endless())).await;
    let mut ticks = running.open(request("/ticks")).await.into_body();
    let mut watching = HealthClient::new(running.channel())
        .watch(HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    assert!(ticks.frame().await.unwrap().is_ok());

    let begun = Instant::now();
    running.shutdown.trigger();
    let reading = async {
        let mut last = begun;
        while let Some(Ok(_)) = ticks.frame().await {
            last = Instant::now();
        }
        last.duration_since(begun)
    };
    let streamed = timeout(PATIENCE, reading).await.unwrap();
    assert!(streamed >= grace / 2, "the stream ended after {streamed:?}");
    // A stream over gRPC gets a last word.
    let status = loop {
        match timeout(PATIENCE, watching.message()).await.unwrap() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("ended without a status"),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_request_without_an_answer_gets_one_after_the_grace() {
    let entered = Arc::new(Notify::new());
    let inside = Arc::clone(&entered);
    let never = move || async move {
        inside.notify_one();
        std::future::pending::<&'static str>().await
    };
    let routes = Router::new().route("/never", get(never));
    let grace = Duration::from_millis(200);
    let running = Arc::new(Running::start(process(grace).http(routes)).await);
    let asking = Arc::clone(&running);
    let asked = tokio::spawn(async move { asking.send(request("/never")).await });
    timeout(PATIENCE, entered.notified()).await.unwrap();
    running.shutdown.trigger();
    let answer = timeout(PATIENCE, asked).await.unwrap().unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.json()["code"], "shutting_down");
    Arc::into_inner(running).unwrap().stop().await.unwrap();
}

#[tokio::test]
async fn a_silent_client_does_not_delay_the_stop() {
    let grace = PATIENCE * 3;
    let running = Running::start(process(grace)).await;
    let silent = [
        TcpStream::connect(running.addresses.http).await.unwrap(),
        TcpStream::connect(running.addresses.grpc).await.unwrap(),
    ];
    // `stop` waits for a third of the grace.
    running.stop().await.unwrap();
    drop(silent);
}

#[tokio::test]
async fn a_client_that_ignores_goaway_is_dropped_after_the_grace() {
    let grace = Duration::from_millis(300);
    let running = Running::start(process(grace).http(endless())).await;
    // HTTP/2 by hand: preface, SETTINGS, and GET of a path on stream 1; then no reaction at all.
    let mut deaf = Vec::new();
    for path in ["/ticks", "/never"] {
        let mut raw = TcpStream::connect(running.addresses.http).await.unwrap();
        raw.write_all(&http2_get(path)).await.unwrap();
        let mut first = [0; 9];
        raw.read_exact(&mut first).await.unwrap();
        deaf.push(raw);
    }
    let begun = Instant::now();
    running.stop().await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[tokio::test]
async fn a_reader_that_stopped_reading_is_dropped_after_the_grace() {
    let flood = || async {
        let block = stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 64 * 1024]));
        Body::from_stream(block)
    };
    let routes = Router::new().route("/flood", get(flood));
    let running = Running::start(process(Duration::from_millis(300)).http(routes)).await;
    let mut raw = TcpStream::connect(running.addresses.http).await.unwrap();
    raw.write_all(b"GET /flood HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut first = [0; 9];
    raw.read_exact(&mut first).await.unwrap();
    let begun = Instant::now();
    running.stop().await.unwrap();
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
}

#[tokio::test]
async fn the_second_signal_drops_open_work() {
    let running = Running::start(process(PATIENCE * 3).http(endless())).await;
    let mut ticks = running.open(request("/ticks")).await.into_body();
    assert!(ticks.frame().await.unwrap().is_ok());
    running.shutdown.advance();
    running.shutdown.advance();
    let ended = timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(RunError::Aborted)), "{ended:?}");
    let cut = async { while let Some(Ok(_)) = ticks.frame().await {} };
    timeout(PATIENCE, cut).await.unwrap();
}

/// A registry that lets nobody out.
struct Clinging(MemoryRegistry);

#[async_trait]
impl Registry for Clinging {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        Ok(Lease::new(instance.id, Never))
    }

    fn watch(&self, service: ServiceName) -> Watch {
        self.0.watch(service)
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        self.0.watch_foreign(service)
    }

    fn kind(&self) -> &'static str {
        "clinging"
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        self.0.ping().await
    }
}

/// The end of a registration that never comes.
struct Never;

#[async_trait]
impl LeaseCloser for Never {
    async fn close(self: Box<Self>) -> Result<(), RegistryError> {
        std::future::pending().await
    }

    fn abandon(self: Box<Self>) {}
}

/// Longer than any stop, in seconds.
const FOREVER: u64 = 86_400;

/// Stops a process that takes so many seconds to be gone from the registry, with a task that goes on for a
/// while; returns how long after the signal the task heard of it, and when the process ended.
async fn stop_with_a_task(
    registry: Arc<dyn Registry>,
    grace: u64,
    pause: u64,
    goes_on: u64,
) -> (Duration, Duration) {
    let base = Base {
        deregister_pause: Some(Duration::from_secs(pause)),
        ..base(Duration::from_secs(grace))
    };
    let (begins, begun) = oneshot::channel();
    let (told, hears) = oneshot::channel();
    let task = move |stop: CancellationToken| async move {
        let _ = begins.send(());
        stop.cancelled().await;
        let _ = told.send(tokio::time::Instant::now());
        tokio::time::sleep(Duration::from_secs(goes_on)).await;
    };
    let builder = Process::builder(ServiceName::Backend, &base).background("slow", task);
    let running = Running::launch(builder, registry).await;
    begun.await.unwrap();
    let signal = tokio::time::Instant::now();
    running.shutdown.trigger();
    running.ended.await.unwrap().unwrap();
    let ended = signal.elapsed();
    (hears.await.unwrap().duration_since(signal), ended)
}

#[tokio::test(start_paused = true)]
async fn the_grace_counts_from_the_signal_and_the_end_takes_a_quarter_more() {
    // The default, and one that leaving takes longer than.
    for (grace, pause, first, last) in [(20, 7, 20, 25), (8, 12, 12, 14)] {
        let registry = Arc::new(MemoryRegistry::new());
        let (heard, ended) = stop_with_a_task(registry, grace, pause, FOREVER).await;
        assert_eq!(heard.as_secs(), pause);
        let expected = Duration::from_secs(first)..=Duration::from_secs(last);
        assert!(expected.contains(&ended), "grace {grace} s: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registry_that_lets_nobody_out_leaves_most_of_the_grace() {
    for (grace, leaving) in [(20, 4), (10, 2)] {
        let registry = Arc::new(Clinging(MemoryRegistry::new()));
        let (heard, ended) = stop_with_a_task(registry, grace, 2, FOREVER).await;
        assert_eq!(heard.as_secs(), leaving + 2);
        let longest = Duration::from_secs(grace) * 5 / 4;
        assert!(ended <= longest, "grace {grace} s: {ended:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_counts_its_own_grace_from_the_stop_can_end() {
    // As an agent that hands its tasks back.
    let registry = Arc::new(Clinging(MemoryRegistry::new()));
    let (heard, ended) = stop_with_a_task(registry, 20, 2, 17).await;
    assert_eq!((heard.as_secs(), ended.as_secs()), (6, 23));
}

#[tokio::test]
async fn a_task_that_dies_ends_the_process_in_order() {
    let builder = process(Duration::from_secs(5)).background("relay", |_| async {
        panic!("a task of the test dies");
    });
    let registry = Arc::new(MemoryRegistry::new());
    let running = Running::launch(builder, registry.clone()).await;
    let ended = timeout(PATIENCE, running.ended).await.unwrap().unwrap();
    assert!(
        matches!(ended, Err(RunError::TaskDied("relay"))),
        "{ended:?}"
    );
    assert!(registry.watch(ServiceName::Backend).current().is_empty());
}

#[tokio::test]
async fn five_processes_share_one_and_stop_alone() {
    let registry: Arc<dyn Registry> = Arc::new(MemoryRegistry::new());
    let parent = Shutdown::new();
    let mut ended = Vec::new();
    for name in ServiceName::ALL.into_iter().take(5) {
        let builder = Process::builder(name, &base(Duration::from_secs(5)));
        let process = builder.bind(Arc::clone(&registry)).await.unwrap();
        let shutdown = parent.child();
        ended.push((name, shutdown.clone(), tokio::spawn(process.run(shutdown))));
    }
    for (name, ..) in &ended {
        let mut watch = registry.watch(*name);
        while watch.current().is_empty() {
            assert!(timeout(PATIENCE, watch.changed()).await.unwrap());
        }
    }
    let (first, shutdown, task) = ended.remove(0);
    shutdown.trigger();
    timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    assert!(registry.watch(first).current().is_empty());
    for (name, ..) in &ended {
        let left = registry.watch(*name).current().len();
        assert_eq!(left, 1, "{name} stopped too");
    }
    parent.trigger();
    for (_, _, task) in ended {
        timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    }
}

/// Returns the bytes of an HTTP/2 connection that asks for `path` (RFC 9113 3.4, RFC 7541).
fn http2_get(path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86, 0x41, 1, b'x', 0x44];
    head.push(u8::try_from(path.len()).expect("a short path"));
    head.extend(path.bytes());
    let length = u8::try_from(head.len()).expect("a short head");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend([0, 0, 0, 4, 0, 0, 0, 0, 0]);
    bytes.extend([0, 0, length, 1, 5, 0, 0, 0, 1]);
    bytes.extend(head);
    bytes
}
