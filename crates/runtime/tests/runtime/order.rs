//! The order of starting and stopping.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::BoxFuture;
use http::StatusCode;
use parking_lot::Mutex;
use sutazai_mesh::{
    catalog::ServiceName,
    registry::{
        Foreign, Instance, Lease, LeaseCloser, Registry, RegistryError, Watch,
        memory::MemoryRegistry,
    },
};
use sutazai_messaging::{BrokerError, Consumer};
use sutazai_runtime::service::FIRST_LIMIT;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::support::{PATIENCE, Running, builder};

/// What happened, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn write(&self, line: impl Into<String>) {
        self.0.lock().push(line.into());
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}

/// Writes down registrations, and at deregistration what the process then answers.
struct Recording {
    inner: MemoryRegistry,
    journal: Journal,
}

struct RecordingLease {
    lease: Lease,
    http: SocketAddr,
    journal: Journal,
}

#[async_trait]
impl Registry for Recording {
    async fn register(&self, instance: Instance) -> Result<Lease, RegistryError> {
        let (id, http) = (instance.id.clone(), instance.http.expect("it serves HTTP"));
        self.journal
            .write(format!("register: {}", readiness(http).await));
        let closer = RecordingLease {
            lease: self.inner.register(instance).await?,
            http,
            journal: self.journal.clone(),
        };
        Ok(Lease::new(id, closer))
    }

    fn watch(&self, service: ServiceName) -> Watch {
        self.inner.watch(service)
    }

    fn watch_foreign(&self, service: &str) -> Watch<Foreign> {
        self.inner.watch_foreign(service)
    }

    fn kind(&self) -> &'static str {
        "recording"
    }

    async fn ping(&self) -> Result<String, RegistryError> {
        self.inner.ping().await
    }
}

#[async_trait]
impl LeaseCloser for RecordingLease {
    async fn close(self: Box<Self>) -> Result<(), RegistryError> {
        self.journal
            .write(format!("deregister: {}", readiness(self.http).await));
        self.lease.close().await
    }

    fn abandon(self: Box<Self>) {
        self.journal.write("lease dropped");
    }
}

/// Asks over a connection of its own, so the listener must still accept.
async fn readiness(address: SocketAddr) -> &'static str {
    let mut stream = TcpStream::connect(address).await.expect("it accepts");
    let request = b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.expect("it reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("it answers");
    match answer.split(' ').nth(1) {
        Some("200") => "ready",
        Some("503") => "not ready",
        _ => "broken",
    }
}

fn consumer(journal: Journal) -> Consumer {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    journal.write("consumer starts");
    let work = async move {
        stopped.cancelled().await;
        journal.write("consumer stops");
    };
    Consumer::new(stop, tokio::spawn(work))
}

#[tokio::test]
async fn cfg_14_a_broker_that_is_away_at_the_start_is_waited_for() {
    let journal = Journal::default();
    let for_consumer = journal.clone();
    let process = builder().consumer("events", move || {
        let journal = for_consumer.clone();
        async move {
            journal.write("attempt");
            match journal.lines().len() {
                1 | 2 => Err(BrokerError::Unavailable {
                    kind: "test",
                    source: "not there".into(),
                }),
                _ => Ok(consumer(journal)),
            }
        }
    });
    let running = Running::launch(process, Arc::new(MemoryRegistry::new())).await;
    running.until_status("/readyz", StatusCode::OK).await;
    timeout(PATIENCE, async {
        while !journal.lines().contains(&"consumer starts".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    running.stop().await.unwrap();
    assert_eq!(
        journal.lines(),
        [
            "attempt",
            "attempt",
            "attempt",
            "consumer starts",
            "consumer stops"
        ]
    );
}

#[tokio::test]
async fn cfg_14_start_and_stop_are_ordered() {
    let journal = Journal::default();
    let registry = Arc::new(Recording {
        inner: MemoryRegistry::new(),
        journal: journal.clone(),
    });
    let (for_consumer, for_task) = (journal.clone(), journal.clone());
    let process = builder()
        .first("introduce", repeated(&journal, "first"))
        .consumer("events", move || {
            let log = for_consumer.clone();
            async move { Ok(consumer(log)) }
        })
        .background("relay", |stop| async move {
            for_task.write("task starts");
            stop.cancelled().await;
            for_task.write("task stops");
        })
        .on_ready("announce", repeated(&journal, "hook"));
    let running = Running::launch(process, registry.clone()).await;
    timeout(PATIENCE, async {
        while !journal.lines().contains(&"hook 1".to_owned()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(registry.watch(ServiceName::Backend).current().len(), 1);
    let address = running.addresses.http;
    running.stop().await.unwrap();
    assert!(registry.watch(ServiceName::Backend).current().is_empty());
    assert!(
        TcpStream::connect(address).await.is_err(),
        "it still accepts"
    );

    let mut lines = journal.lines();
    // Consumers and tasks stop at the same time.
    let last = lines.len() - 2;
    lines[last..].sort();
    assert_eq!(
        lines,
        [
            "first 0",
            "first 1",
            "register: ready",
            "consumer starts",
            "task starts",
            "hook 0",
            "hook 1",
            "deregister: not ready",
            "consumer stops",
            "task stops",
        ]
    );
}

/// Makes a hook whose first attempt fails: hooks are repeated.
fn repeated(
    journal: &Journal,
    name: &'static str,
) -> impl Fn() -> BoxFuture<'static, Result<(), &'static str>> + Send + 'static {
    let journal = journal.clone();
    move || {
        let journal = journal.clone();
        Box::pin(async move {
            let lines = journal.lines();
            let attempt = lines.iter().filter(|line| line.starts_with(name)).count();
            journal.write(format!("{name} {attempt}"));
            if attempt == 0 { Err("not yet") } else { Ok(()) }
        })
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_first_and_never_works_does_not_keep_the_process_away() {
    let registry = Arc::new(MemoryRegistry::new());
    let process = builder().first("introduce", || async { Err::<(), _>("nobody answers") });
    let begun = tokio::time::Instant::now();
    let running = Running::launch(process, registry.clone()).await;
    let mut watch = registry.watch(ServiceName::Backend);
    while watch.current().is_empty() {
        assert!(watch.changed().await, "the registry ended");
    }
    assert!(begun.elapsed() >= FIRST_LIMIT, "it did not wait");
    running.stop().await.unwrap();
}
