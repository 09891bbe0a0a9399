//! Connections that fail, loudly or in silence.

use std::{sync::atomic::Ordering, time::Duration};

use sutazai_messaging::{Broker, BrokerError};
use tokio::time::{Instant, timeout};

use super::{
    proxy::{Proxy, Way},
    published,
};
use crate::bench::{QUEUE, collector, declared, next, task};
use crate::real::{Place, connect};

const AGAIN: Duration = Duration::from_secs(10);

fn is_down(error: &BrokerError) -> bool {
    matches!(error, BrokerError::Unavailable { .. })
}

/// The URL of a place, through a proxy.
fn through(place: &Place, proxy: &Proxy, query: &str) -> String {
    let direct = format!("127.0.0.1:{}", place.server.port());
    place.url().replace(&direct, &proxy.address.to_string()) + query
}

#[tokio::test]
async fn trap_1_connecting_has_no_last_try() {
    let place = Place::new().await;
    let proxy = Proxy::start(place.server.port(), Way::Refusing).await;
    let broker = connect(through(&place, &proxy, ""), "patient");
    let refused = broker.publish(task("early")).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    // lapin by itself gives up after 16 tries; here two connections try.
    while proxy.taken.load(Ordering::SeqCst) < 2 * 17 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.turn(Way::Open);
    let broker = timeout(AGAIN, async {
        // Each of the two connections has its own tries.
        while broker.ping().await.is_err()
            || broker
                .depth("any")
                .await
                .is_err_and(|error| is_down(&error))
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        declared(broker).await
    });
    let broker = broker.await.expect("no connection");
    published(&broker, task("late")).await;
}

#[tokio::test]
async fn trap_8_a_connection_that_went_silent_is_replaced() {
    let place = Place::new().await;
    let proxy = Proxy::start(place.server.port(), Way::Open).await;
    // One second between heartbeats in place of ten: the test has less time than a service.
    let broker = declared(connect(through(&place, &proxy, "?heartbeat=1"), "worker")).await;
    let (handler, mut deliveries) = collector();
    let consumer = broker.consume(QUEUE, 1, handler).await.unwrap();
    broker.publish(task("before")).await.unwrap();
    assert_eq!(next(&mut deliveries).await.id, "before");

    proxy.turn(Way::BlackHole);
    let silent = Instant::now();
    let refused = broker.publish(task("into the hole")).await;
    assert!(
        matches!(refused, Err(BrokerError::Unavailable { .. })),
        "{refused:?}"
    );
    assert!(
        silent.elapsed() < Duration::from_secs(6),
        "{:?}",
        silent.elapsed()
    );
    proxy.turn(Way::Open);
    let open = Instant::now();
    published(&broker, task("after")).await;
    // The first acknowledgement may have fallen into the hole, too.
    while next(&mut deliveries).await.id != "after" {}
    assert!(open.elapsed() < AGAIN, "{:?}", open.elapsed());
    consumer.stop().await;
}

#[tokio::test]
async fn a_batch_into_the_hole_waits_as_long_as_one_message() {
    let place = Place::new().await;
    let proxy = Proxy::start(place.server.port(), Way::Open).await;
    let broker = declared(connect(through(&place, &proxy, ""), "worker")).await;
    broker.publish(task("before")).await.unwrap();

    proxy.turn(Way::BlackHole);
    let silent = Instant::now();
    let results = broker.publish_all((0..6).map(|n| task(&n.to_string())).collect());
    let results = results.await;
    assert_eq!(results.len(), 6);
    for result in &results {
        assert!(result.as_ref().is_err_and(is_down), "{result:?}");
    }
    // Five seconds for the first, and none for each further one.
    let took = silent.elapsed();
    assert!(took < Duration::from_secs(9), "{took:?}");
}
