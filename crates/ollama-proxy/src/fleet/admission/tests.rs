use std::collections::BTreeSet;

use sutazai_resilience::Breakers;

use super::*;

const WAIT: Duration = Duration::from_secs(30);

fn admission(slots: usize, limit: usize) -> (Admission, Breaker) {
    let breaker = Breakers::new().get("ollama:test");
    let admission = Admission::new(slots, limit, WAIT);
    admission.enter(0, 1, breaker.clone());
    admission.observe(0, true, [("a".to_owned(), true)].into());
    (admission, breaker)
}

fn want() -> Want {
    Want {
        model: "a".into(),
        tried: BTreeSet::new(),
    }
}

/// A deadline that comes after the longest wait.
fn far() -> Deadline {
    Deadline::after(2 * WAIT)
}

/// Runs the others until the queue is that long.
async fn queue_of(admission: &Admission, length: usize) {
    while admission.queued() != length {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn olp_02_slots_are_handed_on_in_order_of_arrival() {
    let (admission, _) = admission(1, 8);
    let first = admission.admit(want(), far()).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for i in 0..4 {
        let (admission, order) = (admission.clone(), order.clone());
        tasks.push(tokio::spawn({
            let admission = admission.clone();
            async move {
                let slot = admission.admit(want(), far()).await.unwrap();
                order.lock().push(i);
                drop(slot);
            }
        }));
        queue_of(&admission, i + 1).await;
    }
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(*order.lock(), [0, 1, 2, 3]);
    assert_eq!(admission.in_flight(0), 0);
}

#[tokio::test(start_paused = true)]
async fn olp_02_a_full_queue_and_a_long_wait_are_told_with_a_time() {
    let (admission, _) = admission(1, 1);
    let _held = admission.admit(want(), far()).await.unwrap();
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move { admission.admit(want(), far()).await.err() }
    });
    queue_of(&admission, 1).await;
    let full = admission.admit(want(), far()).await.err();
    assert!(
        matches!(full, Some(NoSlot::Full { waiting: 1, retry_after }) if !retry_after.is_zero()),
        "{full:?}"
    );
    let late = waiting.await.unwrap();
    assert!(
        matches!(late, Some(NoSlot::Late { waited: WAIT, .. })),
        "{late:?}"
    );
    let hurried = admission.admit(want(), Deadline::after(WAIT / 2)).await;
    assert!(matches!(hurried.err(), Some(NoSlot::Over)));
    assert_eq!(admission.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn llm_04_who_leaves_the_queue_takes_nothing_along() {
    let (admission, _) = admission(1, 8);
    let held = admission.admit(want(), far()).await.unwrap();
    let leaving = tokio::spawn({
        let admission = admission.clone();
        async move { admission.admit(want(), far()).await.map(drop) }
    });
    queue_of(&admission, 1).await;
    // Granted and abandoned in the same moment: the slot must come back.
    drop(held);
    leaving.abort();
    let _ = leaving.await;
    assert_eq!((admission.queued(), admission.in_flight(0)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_opens_frees_the_queue_and_one_that_recovers_lets_in() {
    let (admission, breaker) = admission(1, 8);
    let held = admission.admit(want(), far()).await.unwrap();
    let waiting = tokio::spawn({
        let admission = admission.clone();
        async move { admission.admit(want(), far()).await.err() }
    });
    queue_of(&admission, 1).await;
    breaker.force_open("test");
    drop(held);
    assert!(matches!(waiting.await.unwrap(), Some(NoSlot::Nowhere)));
    assert!(matches!(
        admission.admit(want(), far()).await.err(),
        Some(NoSlot::Nowhere)
    ));
    breaker.reset("test");
    assert!(admission.admit(want(), far()).await.is_ok());
}
