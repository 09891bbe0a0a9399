//! The broker as somebody sees it who has nothing to do with the platform.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use system_tests::platform::Platform;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How a client of AMQP 0-9-1 begins, and the kind of frame that it is answered with.
const HELLO: &[u8] = b"AMQP\x00\x00\x09\x01";
const METHOD: u8 = 1;
/// Longest wait for that answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Longest time until the management shows what the broker knows; it counts every few seconds.
const SHOWN: Duration = Duration::from_secs(30);
/// How long nothing changes once all are shown.
const SETTLED: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(250);

/// Consumers by queue.
pub(super) type Consumers = BTreeMap<String, usize>;

/// Tells whether the broker's port answers as AMQP says.
pub(super) async fn answers(platform: &Platform) -> bool {
    let port = platform.servers().amqp_port;
    let greeting = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.write_all(HELLO).await?;
        stream.read_u8().await
    };
    matches!(timeout(PATIENCE, greeting).await, Ok(Ok(METHOD)))
}

/// Returns who consumes once nobody has come or gone for a while: a platform that has just started
/// takes work before the management shows all its consumers, or any.
pub(super) async fn settled(platform: &Platform) -> Consumers {
    let (begun, mut since) = (Instant::now(), Instant::now());
    let mut last = Consumers::new();
    while last.is_empty() || since.elapsed() < SETTLED {
        assert!(begun.elapsed() < SHOWN, "who consumes changes: {last:?}");
        let now = consumers(platform).await.unwrap_or_default();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        tokio::time::sleep(PAUSE).await;
    }
    last
}

/// Asks the broker's management who consumes; none when it does not answer.
async fn consumers(platform: &Platform) -> Option<Consumers> {
    let list = platform.rabbitmq("/api/consumers").await.ok()?;
    let mut consumers = Consumers::new();
    for consumer in list {
        let queue = consumer["queue"]["name"].as_str()?;
        *consumers.entry(queue.to_owned()).or_default() += 1;
    }
    Some(consumers)
}

/// Tells whether each queue has as many consumers as wanted, now or soon.
pub(super) async fn has(platform: &Platform, wanted: &Consumers) -> bool {
    let begun = Instant::now();
    loop {
        let now = consumers(platform).await;
        if now.as_ref() == Some(wanted) {
            return true;
        }
        if begun.elapsed() > SHOWN {
            println!("consumers are {now:?}, were {wanted:?}");
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
