//! Many askers, one load.

use std::{sync::Arc, time::Duration};

use sutazai_persistence::{
    Cache,
    cache::{CacheError, Settings, Source},
};
use sutazai_resilience::Breakers;
use tokio::time::{Instant, sleep};

use crate::harness::{Origin, THINGS, client, replica, say, server, wait_for};

const TAKES: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cch_07_a_thousand_misses_in_one_process_are_one_load() {
    let (server, _folder) = server().await;
    let cache = replica(&server).await;
    let origin = Origin::that_takes(TAKES);
    ask(std::slice::from_ref(&cache), &origin, 1_000).await;
    assert_eq!(origin.loads(), 1);
    let stats = cache.stats().await.total();
    assert_eq!(
        (stats.misses, stats.loads, stats.local_hits + stats.joined),
        (1, 1, 999)
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cch_07_a_thousand_misses_in_four_replicas_are_one_load() {
    let (server, _folder) = server().await;
    let mut replicas = Vec::new();
    for _ in 0..4 {
        replicas.push(replica(&server).await);
    }
    let origin = Origin::that_takes(TAKES);
    let begun = Instant::now();
    ask(&replicas, &origin, 1_000).await;
    assert_eq!(origin.loads(), 1);
    // Who waits hears of the end: it does not find out by asking now and then.
    let took = begun.elapsed();
    assert!(took < TAKES + Duration::from_millis(300), "{took:?}");
    server.stop().await;
}

/// Asks from all replicas at the same time; every answer is the one value.
async fn ask(replicas: &[Cache], origin: &Origin, askers: usize) {
    let key = THINGS.key("popular");
    let asking = (0..askers).map(|number| {
        let (cache, origin) = (replicas[number % replicas.len()].clone(), origin.clone());
        let key = key.clone();
        tokio::spawn(async move { origin.through(&cache, &key).await.value })
    });
    for answer in asking.collect::<Vec<_>>() {
        assert_eq!(answer.await.expect("no panic"), 1);
    }
}

#[tokio::test]
async fn a_loader_that_dies_holds_the_others_up_for_one_lease_at_most() {
    let (server, _folder) = server().await;
    let settings = Settings {
        lease: Duration::from_millis(300),
        ..Settings::default()
    };
    let cache = |settings: &Settings| {
        Cache::shared(settings.clone(), client(server.url(), &Breakers::new()))
    };
    let (dying, other) = (cache(&settings), cache(&settings));
    // A process that is killed renews nothing and gives nothing back: its lock is all that is left.
    let key = THINGS.key("1");
    let lock = "sutazai:cache:lock:things:1";
    assert!(say(&server, &format!("SET {lock} dead PX 300")).contains("+OK"));
    let begun = Instant::now();
    let answer = Origin::default().through(&other, &key).await;
    assert_eq!(answer.source, Source::Fresh);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_millis(150) && took < Duration::from_secs(2),
        "{took:?}"
    );
    drop(dying);
    server.stop().await;
}

#[tokio::test]
async fn a_load_longer_than_its_lease_is_still_one_load() {
    let (server, _folder) = server().await;
    let settings = Settings {
        lease: Duration::from_millis(150),
        ..Settings::default()
    };
    let cache = || Cache::shared(settings.clone(), client(server.url(), &Breakers::new()));
    let origin = Origin::that_takes(Duration::from_millis(900));
    let (one, two) = (cache(), cache());
    let key = THINGS.key("slow");
    let (first, second) = tokio::join!(origin.through(&one, &key), origin.through(&two, &key));
    assert_eq!((first.value, second.value, origin.loads()), (1, 1, 1));
    server.stop().await;
}

#[tokio::test]
async fn a_load_that_nobody_waits_for_ends_and_gives_its_lock_back() {
    let (server, _folder) = server().await;
    let cache = replica(&server).await;
    let origin = Origin::that_takes(Duration::from_secs(3_600));
    let key = THINGS.key("abandoned");
    let asking = tokio::spawn({
        let (cache, key) = (cache.clone(), key.clone());
        async move { origin.through(&cache, &key).await }
    });
    let exists = || say(&server, "EXISTS sutazai:cache:lock:things:abandoned");
    wait_for("the lock", async || exists().contains(":1")).await;
    asking.abort();
    wait_for("the lock to be free", async || exists().contains(":0")).await;
    assert_eq!(Origin::default().through(&cache, &key).await.value, 1);
    server.stop().await;
}

#[tokio::test]
async fn an_error_reaches_all_who_wait_and_is_not_kept() {
    let (server, _folder) = server().await;
    let cache = replica(&server).await;
    let key = THINGS.key("broken");
    let refuse = Arc::new(tokio::sync::Notify::new());
    let asking = (0..10).map(|_| {
        let (cache, key, refuse) = (cache.clone(), key.clone(), refuse.clone());
        tokio::spawn(async move {
            let load = async move {
                refuse.notified().await;
                Err::<u32, _>("no".to_owned())
            };
            cache.get_or_load(&key, || load).await
        })
    });
    let asking: Vec<_> = asking.collect();
    sleep(Duration::from_millis(100)).await;
    refuse.notify_one();
    for answer in asking {
        let error = answer.await.unwrap().unwrap_err();
        assert!(matches!(error, CacheError::Load(why) if why == "no"));
    }
    assert_eq!(Origin::default().through(&cache, &key).await.value, 1);
    server.stop().await;
}
