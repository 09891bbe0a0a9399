//! Following a task.

use futures::{StreamExt, TryStreamExt};
use sutazai_proto::Coded;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::error::Error;
use crate::watch::{Item, Progress};

fn sequences(items: &[Item]) -> Vec<u64> {
    let sequence = |item: &Item| match item {
        Item::Event(recorded) => Some(recorded.sequence),
        Item::Progress(_) => None,
    };
    items.iter().filter_map(sequence).collect()
}

#[tokio::test]
async fn stored_events_come_first_then_live_ones_until_the_end() {
    let bench = Bench::start().await;
    let worker = bench.worker("w", 5).await;
    let attempt = bench.begin(&worker, TYPE).await;
    let mut items = Box::pin(bench.tasks.watch(TENANT, attempt.task, 1).await.unwrap());
    for expected in [2, 3] {
        let item = timeout(SOON, items.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(sequences(&[item]), [expected]);
    }
    let progress = Progress {
        attempt: 1,
        data: Payload::default(),
    };
    let waiting = tokio::spawn(async move { items.try_collect::<Vec<Item>>().await });
    // Lossy: said again until the follower has had time to wait for it.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        bench.tasks.progress(attempt.task, progress.clone());
    }
    bench.tasks.cancel(TENANT, attempt.task).await.unwrap();
    bench.finish(attempt, &worker, Outcome::Cancelled).await;
    let rest = timeout(SOON, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(sequences(&rest), [4, 5], "and then it ends");
    assert!(rest.contains(&Item::Progress(progress)));
}

#[tokio::test]
async fn who_has_seen_the_end_gets_nothing_and_no_one_waits_for_ever() {
    let bench = Bench::start().await;
    let task = {
        bench.worker("w", 5).await;
        bench.submit().await
    };
    bench.tasks.cancel(TENANT, task).await.unwrap();
    for (after, expected) in [
        (0, vec![1, 2]),
        (1, vec![2]),
        (2, vec![]),
        (u64::MAX, vec![]),
    ] {
        let items = bench.tasks.watch(TENANT, task, after).await.unwrap();
        let items: Vec<Item> = timeout(SOON, items.try_collect()).await.unwrap().unwrap();
        assert_eq!(sequences(&items), expected, "after {after}");
    }
}

#[tokio::test]
async fn a_follower_at_another_process_hears_of_it_through_the_database() {
    let here = Bench::start().await;
    let there = here.restarted().await;
    here.worker("w", 5).await;
    let task = here.submit().await;
    let stop = CancellationToken::new();
    let announcing = {
        let (watchers, store, stop) = (here.watchers.clone(), here.store.clone(), stop.clone());
        tokio::spawn(async move { watchers.announce(&store, &stop).await })
    };
    let listening = {
        let (watchers, store, stop) = (there.watchers.clone(), there.store.clone(), stop.clone());
        tokio::spawn(async move { watchers.listen(&store, &stop).await })
    };
    let mut items = Box::pin(there.tasks.watch(TENANT, task, 0).await.unwrap());
    let first = timeout(SOON, items.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(sequences(&[first]), [1]);
    here.tasks.cancel(TENANT, task).await.unwrap();
    let rest: Vec<Item> = timeout(SOON, items.try_collect()).await.unwrap().unwrap();
    assert_eq!(sequences(&rest), [2]);
    stop.cancel();
    announcing.await.unwrap();
    listening.await.unwrap();
}

#[tokio::test]
async fn a_process_that_stops_ends_its_streams_with_a_word() {
    let bench = Bench::start().await;
    bench.worker("w", 5).await;
    let task = bench.submit().await;
    let items = bench.tasks.watch(TENANT, task, 1).await.unwrap();
    let waiting = tokio::spawn(async move { items.try_collect::<Vec<Item>>().await });
    bench.watchers.close();
    let error = timeout(SOON, waiting).await.unwrap().unwrap().unwrap_err();
    assert!(matches!(error, Error::Stopping));
    assert_eq!(error.code().policy().http.as_u16(), 503);
}
