//! Limits that replicas share.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sutazai_persistence::limit::{Limiter, Quota};
use sutazai_resilience::Breakers;
use tokio::time::{Instant, sleep};

use crate::harness::{client, say, server};

fn quota(requests: u32, window: Duration, burst: u32) -> Quota {
    Quota {
        requests,
        window,
        burst,
    }
}

fn replicas(url: &str) -> [Limiter; 2] {
    [(); 2].map(|()| Limiter::new(Some(client(url.to_owned(), &Breakers::new()))))
}

#[tokio::test]
async fn s11_a_burst_over_two_replicas_is_exactly_the_burst() {
    let (server, _folder) = server().await;
    let limiters = replicas(&server.url());
    // So slow that nothing comes back while the test runs.
    let quota = quota(100, Duration::from_secs(3_600), 100);
    let takes = (0..400).map(|number| {
        let limiter = limiters[number % 2].clone();
        tokio::spawn(async move { limiter.take("alice", quota, 2).await })
    });
    let mut allowed = 0;
    for take in takes.collect::<Vec<_>>() {
        let verdict = take.await.unwrap();
        assert!(verdict.shared);
        allowed += u32::from(verdict.allowed);
    }
    assert_eq!(allowed, 100);
    let refused = limiters[0].take("alice", quota, 2).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    assert!(refused.retry_after > Duration::from_secs(20));
    assert!(limiters[1].take("bob", quota, 2).await.allowed);
    let left = say(&server, "PTTL sutazai:limit:alice");
    assert!(!left.starts_with(":-1"), "{left}");
    server.stop().await;
}

#[tokio::test]
async fn s11_a_clock_that_was_set_back_by_an_hour_keeps_nobody_out() {
    let (server, _folder) = server().await;
    let [limiter, _] = replicas(&server.url());
    let quota = quota(10, Duration::from_secs(60), 10);
    while limiter.take("alice", quota, 1).await.allowed {}
    // What the server's clock made of it an hour ahead of now.
    let ahead = SystemTime::now() + Duration::from_secs(3_600);
    let micros = ahead.duration_since(UNIX_EPOCH).unwrap().as_micros();
    say(&server, &format!("SET sutazai:limit:alice {micros}"));
    let verdict = limiter.take("alice", quota, 1).await;
    assert!(verdict.allowed && verdict.shared, "{verdict:?}");
    // And the limit is one again.
    let mut more = 0;
    while limiter.take("alice", quota, 1).await.allowed {
        more += 1;
    }
    assert!((8..=10).contains(&more), "{more}");
    server.stop().await;
}

#[tokio::test]
async fn sec_08_two_replicas_share_a_rate_to_one_percent() {
    let (server, _folder) = server().await;
    let limiters = replicas(&server.url());
    // The burst covers moments in which a busy machine asks for nothing.
    let quota = quota(500, Duration::from_secs(1), 150);
    let begun = Instant::now();
    let hammer = |limiter: Limiter| async move {
        let mut allowed = 0_u32;
        while begun.elapsed() < Duration::from_secs(4) {
            allowed += u32::from(limiter.take("alice", quota, 2).await.allowed);
        }
        allowed
    };
    let [one, two] = limiters;
    let (one, two) = tokio::join!(tokio::spawn(hammer(one)), tokio::spawn(hammer(two)));
    let allowed = f64::from(one.unwrap() + two.unwrap());
    let expected = begun.elapsed().as_secs_f64() * 500.0 + 150.0;
    let off = (allowed - expected).abs() / expected;
    assert!(off < 0.01, "{allowed} allowed, {expected} expected");
    server.stop().await;
}

#[tokio::test]
async fn s11_without_redis_each_replica_grants_its_share_and_no_more() {
    let (server, _folder) = server().await;
    let limiters = replicas(&server.url());
    let quota = quota(100, Duration::from_secs(3_600), 100);
    server.stop().await;
    let begun = Instant::now();
    let mut allowed = 0;
    for limiter in &limiters {
        for _ in 0..200 {
            let verdict = limiter.take("alice", quota, 2).await;
            assert!(!verdict.shared);
            allowed += u32::from(verdict.allowed);
        }
    }
    assert_eq!(allowed, 100);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_was_used_comes_back_with_time() {
    let (server, _folder) = server().await;
    let [limiter, _] = replicas(&server.url());
    let quota = quota(10, Duration::from_secs(1), 1);
    assert!(limiter.take("alice", quota, 1).await.allowed);
    let refused = limiter.take("alice", quota, 1).await;
    assert!(!refused.allowed && refused.retry_after <= Duration::from_millis(100));
    sleep(refused.retry_after + Duration::from_millis(5)).await;
    assert!(limiter.take("alice", quota, 1).await.allowed);
    server.stop().await;
}
