//! How long entries live, and in which form.

use std::{convert::Infallible, time::Duration};

use sutazai_persistence::cache::{Cache, Namespace, Settings, Source};
use tokio::time::sleep;

use crate::harness::{Origin, THINGS, replica, say, server, wait_for};

#[tokio::test]
async fn cch_11_every_key_in_redis_has_an_end() {
    let (server, _folder) = server().await;
    let cache = replica(&server).await;
    let origin = Origin::default();
    for number in 0..20 {
        let key = THINGS.key(&number.to_string()).tag("a").tag("b");
        origin.through(&cache, &key).await;
    }
    cache.invalidate_tag("a").await.unwrap();
    cache.clear().await.unwrap();
    let slow = Origin::that_takes(Duration::from_secs(3_600));
    let loading = tokio::spawn({
        let cache = cache.clone();
        async move { slow.through(&cache, &THINGS.key("loading")).await }
    });
    let keys = || -> Vec<String> {
        let answer = say(&server, "KEYS *");
        answer
            .lines()
            .filter(|line| line.starts_with("sutazai"))
            .map(str::to_owned)
            .collect()
    };
    wait_for("a lock", async || {
        keys().iter().any(|key| key.contains(":lock:"))
    })
    .await;
    let keys = keys();
    assert!(keys.len() >= 24, "{keys:?}");
    for key in keys {
        let left = say(&server, &format!("PTTL {key}"));
        let left: i64 = left.lines().next().unwrap()[1..].parse().unwrap();
        assert!(left > 0, "{key} has no end");
    }
    loading.abort();
    server.stop().await;
}

#[tokio::test]
async fn cch_09_an_entry_ends_with_its_life_in_both_levels() {
    const SHORT: Namespace = Namespace::new("short", Duration::from_millis(300)).with_jitter(0);
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let origin = Origin::default();
    let key = SHORT.key("1");
    origin.through(&one, &key).await;
    sleep(Duration::from_millis(150)).await;
    // Taken over from Redis, it keeps the end that it had.
    assert_eq!(origin.through(&two, &key).await.source, Source::Shared);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(origin.through(&two, &key).await.source, Source::Fresh);
    server.stop().await;
}

#[tokio::test]
async fn cch_08_a_large_value_is_small_in_redis_and_whole_for_the_reader() {
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let text = "the same words again and again, ".repeat(2_000);
    let key = THINGS.key("large").tag("a");
    for cache in [&one, &two] {
        let made = text.clone();
        let load = async move { Ok::<_, Infallible>(made) };
        assert_eq!(cache.get_or_load(&key, || load).await.unwrap().value, text);
    }
    let entry = two.describe("things", "large").await.unwrap().unwrap();
    assert!(entry.compressed && entry.bytes * 10 < text.len() as u64);
    assert_eq!(entry.tags, ["a"]);
    assert!(entry.left > Duration::from_secs(50));
    assert_eq!(two.local_bytes("things", "large"), Some(text.len() + 2));
    server.stop().await;
}

#[tokio::test]
async fn a_value_of_another_version_is_made_again() {
    let (server, _folder) = server().await;
    let key = THINGS.key("1");
    let old = replica(&server).await;
    let load = async { Ok::<_, Infallible>("text".to_owned()) };
    old.get_or_load(&key, || load).await.unwrap();
    let new = replica(&server).await;
    assert_eq!(Origin::default().through(&new, &key).await.value, 1);
    let third = replica(&server).await;
    let read = Origin::default().through(&third, &key).await;
    assert_eq!((read.value, read.source), (1, Source::Shared));
    server.stop().await;
}

#[tokio::test]
async fn cch_13_a_function_remembers_its_answers() {
    let cache = Cache::local(Settings::default());
    let origin = Origin::default();
    let counted = origin.clone();
    let add = cache
        .memo(THINGS, move |(a, b): (u32, u32)| {
            let counted = counted.clone();
            async move { counted.load().await.map(|_| a + b) }
        })
        .tag("sums");
    for _ in 0..3 {
        assert_eq!(add.call((2, 3)).await.unwrap().value, 5);
    }
    assert_eq!(add.call((3, 3)).await.unwrap().value, 6);
    assert_eq!(origin.loads(), 2);
    cache.invalidate_tag("sums").await.unwrap();
    add.call((2, 3)).await.unwrap();
    assert_eq!(origin.loads(), 3);
}

#[tokio::test]
async fn cch_03_hits_are_counted_by_level_and_namespace() {
    const OTHERS: Namespace = Namespace::new("others", Duration::from_secs(60));
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let origin = Origin::default();
    for key in [THINGS.key("1"), OTHERS.key("1")] {
        origin.through(&one, &key).await;
    }
    origin.through(&two, &THINGS.key("1")).await;
    for _ in 0..2 {
        origin.through(&two, &THINGS.key("1")).await;
    }
    origin.through(&two, &THINGS.key("2")).await;
    let stats = two.stats().await;
    assert_eq!(stats.namespaces.len(), 1);
    let things = &stats.namespaces[0];
    let counts = (things.local_hits, things.shared_hits, things.misses);
    assert_eq!(counts, (2, 1, 1));
    assert_eq!(things.hit_ratio(), Some(0.75));
    assert_eq!(things.shared_hit_ratio(), Some(0.5));
    assert_eq!((things.loads, things.local_entries), (1, 2));
    assert!(stats.shared.unwrap().memory.unwrap().limit > 0);
    server.stop().await;
}
