//! What is invalidated is gone, everywhere.

use std::{collections::BTreeMap, time::Duration};

use proptest::{prelude::*, test_runner::TestRunner};
use sutazai_persistence::{
    Cache,
    cache::{Key, Lookup, Settings, Source},
};
use tokio::time::Instant;

use crate::harness::{Origin, THINGS, hears, replica, say, server, wait_for};

#[tokio::test]
async fn cch_02_replicas_agree_and_the_second_one_is_served_by_redis() {
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let origin = Origin::default();
    let key = THINGS.key("1").tag("a");
    assert_eq!(origin.through(&one, &key).await.source, Source::Fresh);
    assert_eq!(origin.through(&one, &key).await.source, Source::Local);
    assert_eq!(origin.through(&two, &key).await.source, Source::Shared);
    assert_eq!(origin.through(&two, &key).await.source, Source::Local);

    one.invalidate_tag("a").await.unwrap();
    let begun = Instant::now();
    wait_for("the other replica to hear", async || {
        origin.through(&two, &key).await.value == 2
    })
    .await;
    let took = begun.elapsed();
    assert!(took < Duration::from_millis(200), "heard after {took:?}");
    assert_eq!(origin.through(&one, &key).await.value, 2);
    assert_eq!(origin.loads(), 2);
    server.stop().await;
}

#[tokio::test]
async fn every_way_to_invalidate_ends_what_it_names_and_nothing_else() {
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let named = THINGS.key("named");
    let other = THINGS.key("other");
    for way in ["delete", "pattern"] {
        let (origin, stays) = (Origin::default(), Origin::default());
        for cache in [&one, &two] {
            origin.through(cache, &named).await;
            stays.through(cache, &other).await;
        }
        match way {
            "delete" => one.delete("things", "named").await.unwrap(),
            _ => assert_eq!(one.delete_matching("things:na*").await.unwrap(), 1),
        }
        wait_for(way, async || origin.through(&two, &named).await.value == 2).await;
        assert_eq!(origin.through(&one, &named).await.value, 2);
        assert_eq!(stays.through(&one, &other).await.value, 1);
        assert_eq!(stays.through(&two, &other).await.value, 1);
        assert_eq!(stays.loads(), 1, "{way}");
        one.clear().await.unwrap();
    }
    for way in ["namespace", "everything"] {
        let origin = Origin::default();
        origin.through(&one, &named).await;
        match way {
            "namespace" => one.invalidate_namespace("things").await.unwrap(),
            _ => one.clear().await.unwrap(),
        }
        assert_eq!(origin.through(&one, &named).await.value, 2, "{way}");
        one.clear().await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn cch_05_a_value_made_before_an_invalidation_is_not_kept_after_it() {
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    for way in ["tag", "delete"] {
        let key = THINGS.key(way).tag("a");
        let slow = Origin::that_takes(Duration::from_millis(300));
        let loading = tokio::spawn({
            let (slow, one, key) = (slow.clone(), one.clone(), key.clone());
            async move { slow.through(&one, &key).await }
        });
        let lock = format!("EXISTS sutazai:cache:lock:things:{way}");
        wait_for("the load", async || say(&server, &lock).contains(":1")).await;
        match way {
            "tag" => two.invalidate_tag("a").await.unwrap(),
            _ => two.delete("things", way).await.unwrap(),
        }
        loading.await.unwrap();
        let origin = Origin::default();
        origin.clone().load().await.unwrap();
        for cache in [&one, &two] {
            assert_eq!(origin.through(cache, &key).await.value, 2, "{way}");
        }
        one.clear().await.unwrap();
    }
    server.stop().await;
}

#[tokio::test]
async fn cch_05_a_slot_from_before_an_invalidation_stays_empty() {
    let (server, _folder) = server().await;
    let (one, two) = (replica(&server).await, replica(&server).await);
    let key = || THINGS.key("streamed").tag("model");
    let Lookup::Missing(slot) = one.look_up::<String>(key()).await else {
        panic!("nothing is cached yet");
    };
    two.invalidate_tag("model").await.unwrap();
    slot.fill(&"old".to_owned()).await;
    let Lookup::Missing(slot) = one.look_up::<String>(key()).await else {
        panic!("an old value came back");
    };
    slot.fill(&"new".to_owned()).await;
    for (cache, source) in [(&one, Source::Local), (&two, Source::Shared)] {
        let Lookup::Found(found) = cache.look_up::<String>(key()).await else {
            panic!("the value is lost");
        };
        assert_eq!((found.value.as_str(), found.source), ("new", source));
    }
    server.stop().await;
}

#[derive(Clone, Debug)]
enum Step {
    Read { cache: usize, key: usize },
    Invalidate { cache: usize, tag: usize },
}

const TAGS: [&str; 3] = ["a", "b", "c"];

/// Key number `n` carries the tags of its bits.
fn key(number: usize) -> Key {
    let key = THINGS.key(&number.to_string());
    let bits = |bit: &usize| number >> bit & 1 == 1;
    (0..3).filter(bits).fold(key, |key, bit| key.tag(TAGS[bit]))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let read = (0..2_usize, 0..8_usize).prop_map(|(cache, key)| Step::Read { cache, key });
    let invalidate =
        (0..2_usize, 0..3_usize).prop_map(|(cache, tag)| Step::Invalidate { cache, tag });
    prop::collection::vec(prop_oneof![3 => read, 1 => invalidate], 1..40)
}

/// In Redis an invalidation holds at once. The local level of the other replica hears of it: the
/// property is checked against Redis, by replicas that keep nothing themselves.
#[test]
fn cch_05_a_read_sees_every_invalidation_before_it_and_only_those() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (server, _folder) = runtime.block_on(server());
    let caches: Vec<Cache> = runtime.block_on(async {
        let settings = Settings {
            local_bytes: 0,
            ..Settings::default()
        };
        let make = || {
            let redis = crate::harness::client(server.url(), &sutazai_resilience::Breakers::new());
            Cache::shared(settings.clone(), redis)
        };
        let caches = vec![make(), make()];
        hears(&caches[0]).await;
        caches
    });
    let mut runner = TestRunner::new(ProptestConfig::with_cases(40));
    let outcome = runner.run(&steps(), |steps| {
        runtime.block_on(async {
            caches[0].clear().await.unwrap();
            let mut origins: BTreeMap<usize, Origin> = BTreeMap::new();
            let mut expected: BTreeMap<usize, u32> = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Read { cache, key: number } => {
                        let origin = origins.entry(number).or_default();
                        let read = origin.through(&caches[cache], &key(number)).await.value;
                        let made = origin.loads();
                        let wanted = *expected.entry(number).or_insert(made);
                        prop_assert_eq!((read, made), (wanted, wanted));
                    }
                    Step::Invalidate { cache, tag } => {
                        caches[cache].invalidate_tag(TAGS[tag]).await.unwrap();
                        expected.retain(|number, _| number >> tag & 1 == 0);
                    }
                }
            }
            Ok(())
        })
    });
    outcome.unwrap();
    runtime.block_on(server.stop());
}
