use std::collections::BTreeSet;

use sutazai_resilience::{Backoff, Breakers, breaker::Settings};
use tokio::task::JoinHandle;

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

/// One node with three slots, whose breaker lets the next request through as its probe, and stays
/// open for as long again when that fails.
fn reopening(open_for: Duration) -> (Admission, Breaker) {
    let settings = Settings {
        consecutive_failures: 1,
        open_for: Backoff {
            min: open_for,
            max: open_for,
        },
    };
    let breaker = Breakers::new().get_with("ollama:test", settings);
    let admission = Admission::new(3, 8, WAIT);
    admission.enter(0, 1, breaker.clone());
    admission.observe(0, true, [("a".to_owned(), true)].into());
    breaker.permit().unwrap().failure("test");
    // The clock of the breaker is not the one that is paused.
    std::thread::sleep(open_for + Duration::from_millis(1));
    (admission, breaker)
}

/// Puts a request into the queue, `length` long by it. Once it has its slot it works for a second,
/// and the node answers; returns when it began.
async fn queue(
    admission: &Admission,
    breaker: &Breaker,
    length: usize,
) -> JoinHandle<Result<Instant, NoSlot>> {
    let task = tokio::spawn({
        let (admission, breaker) = (admission.clone(), breaker.clone());
        async move {
            let mut slot = admission.admit(want(), far()).await?;
            let began = Instant::now();
            let pass = admission.pass(&mut slot, &breaker).unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            pass.success();
            Ok::<_, NoSlot>(began)
        }
    });
    queue_of(admission, length).await;
    task
}

#[tokio::test(start_paused = true)]
async fn olp_04_who_waits_for_a_probe_goes_on_with_its_success() {
    let (admission, breaker) = reopening(Duration::ZERO);
    let mut slot = admission.admit(want(), far()).await.unwrap();
    let probe = admission.pass(&mut slot, &breaker).unwrap();
    let first = queue(&admission, &breaker, 1).await;
    let second = queue(&admission, &breaker, 2).await;
    assert_eq!(admission.in_flight(0), 1, "they wait beside two free slots");
    let closed = Instant::now();
    probe.success();
    for task in [first, second] {
        assert_eq!(task.await.unwrap().unwrap(), closed);
    }
    drop(slot);
    assert_eq!((admission.queued(), admission.in_flight(0)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn olp_04_a_probe_that_is_given_up_lets_the_oldest_in_the_queue_probe() {
    let (admission, breaker) = reopening(Duration::ZERO);
    let mut slot = admission.admit(want(), far()).await.unwrap();
    let probe = admission.pass(&mut slot, &breaker).unwrap();
    let first = queue(&admission, &breaker, 1).await;
    let second = queue(&admission, &breaker, 2).await;
    let third = queue(&admission, &breaker, 3).await;
    // The slot comes back before the breaker knows: by itself it makes no room.
    drop(slot);
    assert_eq!(admission.queued(), 3);
    let given_up = Instant::now();
    drop(probe);
    assert_eq!(admission.queued(), 2, "one is the next probe");
    assert!(breaker.is_probing());
    assert_eq!(first.await.unwrap().unwrap(), given_up);
    for task in [second, third] {
        let began = task.await.unwrap().unwrap();
        assert!(began > given_up, "the others keep their places and wait");
    }
    assert_eq!((admission.queued(), admission.in_flight(0)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn olp_04_a_probe_whose_caller_left_before_it_began_keeps_nobody_waiting() {
    let (admission, breaker) = reopening(Duration::ZERO);
    let slot = admission.admit(want(), far()).await.unwrap();
    assert!(breaker.is_probing(), "it is chosen with its slot");
    let next = queue(&admission, &breaker, 1).await;
    drop(slot);
    assert_eq!(admission.queued(), 0);
    assert!(next.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn olp_04_a_probe_that_fails_tells_those_who_wait() {
    let (admission, breaker) = reopening(Duration::from_millis(200));
    let mut slot = admission.admit(want(), far()).await.unwrap();
    let probe = admission.pass(&mut slot, &breaker).unwrap();
    let waiting = queue(&admission, &breaker, 1).await;
    drop(slot);
    assert_eq!(admission.queued(), 1);
    probe.failure("test");
    assert_eq!(admission.queued(), 0);
    assert!(matches!(waiting.await.unwrap(), Err(NoSlot::Nowhere)));
}
