//! Redis goes away and comes back.

use std::time::Duration;

use sutazai_persistence::{
    Cache,
    cache::{CheckError, Settings, Source},
};
use sutazai_resilience::{Breakers, breaker::State};
use sutazai_servers::redis::{Options, Redis as Server};
use tokio::time::Instant;

use crate::harness::{Origin, THINGS, client, folder, hears, replica, say, server, wait_for};

#[tokio::test]
async fn cch_12_the_local_level_goes_on_alone_and_redis_is_used_again() {
    let folder = folder();
    let options = Options::new(folder.path().join("redis"));
    let server = Server::start(options.clone()).await.unwrap();
    let port = server.port();
    let breakers = Breakers::new();
    let cache = Cache::shared(Settings::default(), client(server.url(), &breakers));
    hears(&cache).await;
    let origin = Origin::default();
    let kept = THINGS.key("kept");
    origin.through(&cache, &kept).await;

    server.kill().await;
    assert_eq!(origin.through(&cache, &kept).await.source, Source::Local);
    let begun = Instant::now();
    for number in 0..50 {
        let key = THINGS.key(&format!("down {number}"));
        assert_eq!(origin.through(&cache, &key).await.source, Source::Fresh);
        assert_eq!(origin.through(&cache, &key).await.source, Source::Local);
    }
    assert!(
        begun.elapsed() < Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(breakers.list()[0].state, State::Open);
    wait_for("the loss to be noticed", async || {
        cache.stats().await.is_degraded()
    })
    .await;

    let server = Server::start(Options {
        port: Some(port),
        ..options
    })
    .await
    .unwrap();
    wait_for("the cache to be whole", async || {
        !cache.stats().await.is_degraded()
    })
    .await;
    let key = THINGS.key("after");
    origin.through(&cache, &key).await;
    let other = replica(&server).await;
    assert_eq!(origin.through(&other, &key).await.source, Source::Shared);
    server.stop().await;
}

#[tokio::test]
async fn a_cache_starts_without_its_redis() {
    let (server, _folder) = server().await;
    let url = server.url();
    server.stop().await;
    let cache = Cache::shared(Settings::default(), client(url, &Breakers::new()));
    let origin = Origin::default();
    assert_eq!(origin.through(&cache, &THINGS.key("1")).await.value, 1);
    assert!(cache.stats().await.is_degraded());
}

/// A Redis that can not be reached for a while keeps its entries: what was invalidated meanwhile
/// must not come back with it.
#[tokio::test]
async fn cch_05_an_invalidation_that_redis_missed_is_made_up_for() {
    let folder = folder();
    let options = Options {
        append_only: true,
        ..Options::new(folder.path().join("redis"))
    };
    let server = Server::start(options.clone()).await.unwrap();
    let port = server.port();
    let cache = replica(&server).await;
    let origin = Origin::default();
    let key = THINGS.key("1").tag("a");
    origin.through(&cache, &key).await;
    server.stop().await;

    cache.invalidate_tag("a").await.unwrap_err();
    let server = Server::start(Options {
        port: Some(port),
        ..options
    })
    .await
    .unwrap();
    assert!(say(&server, "EXISTS sutazai:cache:entry:things:1").contains(":1"));
    wait_for("Redis to be used", async || {
        !cache.stats().await.is_degraded()
    })
    .await;
    assert_eq!(origin.through(&cache, &key).await.value, 2);
    let other = replica(&server).await;
    assert_eq!(origin.through(&other, &key).await.value, 2);
    server.stop().await;
}

#[tokio::test]
async fn who_can_not_hear_forgets_soon() {
    let (server, _folder) = server().await;
    let settings = Settings {
        deaf_life: Duration::from_millis(50),
        ..Settings::default()
    };
    let cache = Cache::shared(settings, client(server.url(), &Breakers::new()));
    hears(&cache).await;
    let origin = Origin::default();
    let key = THINGS.key("1");
    origin.through(&cache, &key).await;
    server.stop().await;
    wait_for("the entry to end", async || {
        origin.through(&cache, &key).await.value == 2
    })
    .await;
}

#[tokio::test]
async fn a_check_finds_its_own_entry_in_redis_and_says_what_is_wrong() {
    let folder = folder();
    let server = Server::start(Options::new(folder.path().join("redis")))
        .await
        .unwrap();
    let cache = replica(&server).await;
    let evidence = cache.check().await.unwrap();
    assert!(evidence.contains("level two hit"), "{evidence}");
    assert!(evidence.contains("allkeys-lru"), "{evidence}");
    assert!(!say(&server, "KEYS *").contains(":entry:probe"));
    server.stop().await;
    assert!(matches!(
        cache.check().await.unwrap_err(),
        CheckError::Redis(_)
    ));
    let alone = Cache::local(Settings::default()).check().await;
    assert!(matches!(alone.unwrap_err(), CheckError::NotConfigured));
}
