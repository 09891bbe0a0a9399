//! The one connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use secrecy::SecretString;
use sutazai_persistence::redis::{Redis, RedisError, Settings};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::{Breakers, breaker::State};
use sutazai_servers::redis::{Memory, Options, Policy, Redis as Server};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep},
};

use crate::harness::{client, connections, folder, wait_for};

#[tokio::test]
async fn net_01_one_connection_serves_many_callers() {
    let folder = folder();
    let server = Server::start(Options {
        password: Some("a-generated-password".to_owned()),
        ..Options::new(folder.path().join("redis"))
    })
    .await
    .unwrap();
    let redis = client(server.url(), &Breakers::new());
    let pings = (0..200).map(|_| {
        let redis = redis.clone();
        tokio::spawn(async move { redis.ping().await })
    });
    for ping in pings.collect::<Vec<_>>() {
        let evidence = ping.await.unwrap().unwrap();
        assert!(evidence.contains(&server.port().to_string()), "{evidence}");
        assert!(!evidence.contains("a-generated-password"));
    }
    assert_eq!(redis.answered(), 200);
    // The one that asks here, and ours.
    assert_eq!(connections(&server), 2);
    assert!(!format!("{redis:?}").contains("a-generated-password"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_away_at_start_fails_fast_opens_the_breaker_and_comes_back() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path().join("redis")))
        .await
        .unwrap();
    let (port, url) = (server.port(), server.url());
    server.stop().await;

    let breakers = Breakers::new();
    let redis = client(url, &breakers);
    let begun = Instant::now();
    for _ in 0..5 {
        let error = redis.ping().await.unwrap_err();
        assert!(matches!(error, RedisError::Unavailable(_)), "{error:?}");
        assert_eq!(error.code(), ErrorCode::Unavailable);
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    let error = redis.ping().await.unwrap_err();
    assert!(matches!(error, RedisError::BreakerOpen { .. }), "{error:?}");
    assert_eq!(breakers.list()[0].name, "redis");

    let server = Server::start(Options {
        port: Some(port),
        ..Options::new(folder.path().join("redis"))
    })
    .await
    .unwrap();
    wait_for("an answer", async || redis.ping().await.is_ok()).await;
    assert_eq!(breakers.list()[0].state, State::Closed);
    server.stop().await;
}

#[tokio::test]
async fn cch_12_a_killed_server_is_used_again_after_its_restart() {
    let folder = folder();
    let options = Options::new(folder.path().join("redis"));
    let server = Server::start(options.clone()).await.unwrap();
    let port = server.port();
    let redis = client(server.url(), &Breakers::new());
    redis.ping().await.unwrap();
    server.kill().await;
    assert!(redis.ping().await.is_err());
    let server = Server::start(Options {
        port: Some(port),
        ..options
    })
    .await
    .unwrap();
    let begun = Instant::now();
    wait_for("an answer", async || redis.ping().await.is_ok()).await;
    assert!(begun.elapsed() < Duration::from_secs(6));
    server.stop().await;
}

#[tokio::test]
async fn a_login_that_is_refused_is_tried_again() {
    let folder = folder();
    let locked = Options {
        password: Some("a-generated-password".to_owned()),
        ..Options::new(folder.path().join("redis"))
    };
    let server = Server::start(locked.clone()).await.unwrap();
    let port = server.port();
    let redis = client(
        format!("redis://:another-password@127.0.0.1:{port}/0"),
        &Breakers::new(),
    );
    let error = redis.ping().await.unwrap_err();
    assert!(matches!(error, RedisError::Unavailable(_)), "{error:?}");
    server.stop().await;

    let server = Server::start(Options {
        port: Some(port),
        password: Some("another-password".to_owned()),
        ..locked
    })
    .await
    .unwrap();
    wait_for("an answer", async || redis.ping().await.is_ok()).await;
    server.stop().await;
}

#[tokio::test]
async fn a_silent_server_is_a_timeout_and_counts() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/0", silent.local_addr().unwrap());
    let settings = Settings {
        response_timeout: Duration::from_millis(100),
        connect_timeout: Duration::from_millis(100),
        ..Settings::new(SecretString::from(url))
    };
    let breakers = Breakers::new();
    let redis = Redis::new(settings, &breakers).unwrap();
    let begun = Instant::now();
    while !matches!(
        redis.ping().await.unwrap_err(),
        RedisError::BreakerOpen { .. }
    ) {
        assert!(begun.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(1)).await;
    }
}

/// The connections of a fake Redis, and which of them answer.
#[derive(Default)]
struct Connections {
    accepted: AtomicUsize,
    /// So many of the first read what comes, and say nothing.
    silent: AtomicUsize,
}

impl Connections {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let number = self.accepted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(Arc::clone(&self).answer(stream, number));
        }
    }

    /// Answers each command as if it asked for the section `server`.
    async fn answer(self: Arc<Self>, mut stream: TcpStream, number: usize) {
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut bytes).await {
            if number < self.silent.load(Ordering::SeqCst) {
                continue;
            }
            // Each command begins with an asterisk, and none has another one.
            let commands = String::from_utf8_lossy(&bytes[..read]).matches('*').count();
            let answers = "$19\r\nredis_version:7.4.0\r\n".repeat(commands);
            if stream.write_all(answers.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}

/// As when the host dies, and another one has its address: nobody says that the connection is gone.
#[tokio::test]
async fn a_connection_that_fell_silent_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    let fake = Arc::new(Connections::default());
    tokio::spawn(Arc::clone(&fake).accept(listener));
    let settings = Settings {
        response_timeout: Duration::from_millis(200),
        ..Settings::new(SecretString::from(url))
    };
    let redis = Redis::new(settings, &Breakers::new()).unwrap();
    wait_for("an answer", async || redis.ping().await.is_ok()).await;

    let so_far = fake.accepted.load(Ordering::SeqCst);
    fake.silent.store(so_far, Ordering::SeqCst);
    let error = redis.ping().await.unwrap_err();
    assert!(matches!(error, RedisError::Timeout), "{error:?}");
    let begun = Instant::now();
    wait_for("another answer", async || redis.ping().await.is_ok()).await;
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "it took {took:?}");
    assert!(fake.accepted.load(Ordering::SeqCst) > so_far);
}

#[tokio::test]
async fn cch_10_limit_and_policy_are_read_and_judged() {
    let folder = folder();
    for (limit, policy, advice) in [
        (64 << 20, Policy::AllKeysLru, None),
        (0, Policy::AllKeysLru, Some("maxmemory,")),
        (64 << 20, Policy::NoEviction, Some("maxmemory-policy,")),
    ] {
        let server = Server::start(Options {
            memory: Memory { limit, policy },
            ..Options::new(folder.path().join("redis"))
        })
        .await
        .unwrap();
        let memory = client(server.url(), &Breakers::new())
            .memory()
            .await
            .unwrap();
        assert_eq!(
            (memory.limit, memory.policy.as_str()),
            (limit, policy.as_str())
        );
        assert!(memory.used > 0);
        match (memory.advice(), advice) {
            (None, None) => {}
            (Some(text), Some(part)) => assert!(text.contains(part), "{text}"),
            other => panic!("{other:?}"),
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn an_address_that_is_none_is_refused_at_once() {
    let settings = Settings::new(SecretString::from("http://127.0.0.1:1".to_owned()));
    let error = Redis::new(settings, &Breakers::new()).unwrap_err();
    assert!(matches!(error, RedisError::Address(_)), "{error:?}");
}
