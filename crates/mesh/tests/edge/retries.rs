//! What happens to a call whose instance dies or is not well.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Largest body that is kept for another try, in bytes.
const KEPT: usize = 64 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn msh_05_an_instance_killed_under_load_fails_no_idempotent_call() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let (stop, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let failures = Mutex::new(Vec::new());
    let load = futures::future::join_all((0..32).map(|_| async {
        let mut client = caller.agents();
        while !stop.load(Ordering::Relaxed) {
            match client.get_agent(get("any")).await {
                Ok(_) => answered.fetch_add(1, Ordering::Relaxed),
                Err(status) => {
                    failures.lock().push(code_and_reason(status));
                    0
                }
            };
        }
    }));
    let kill = async {
        until(|| answered.load(Ordering::Relaxed) > 2_000).await;
        assert!(
            one.calls() > 500 && two.calls() > 500,
            "both carry the load"
        );
        tokio::task::spawn_blocking(|| two.kill()).await.unwrap();
        let then = answered.load(Ordering::Relaxed);
        until(|| answered.load(Ordering::Relaxed) > then + 2_000).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(load, kill);
    assert_eq!(*failures.lock(), []);
    assert!(caller.breaker("two").failures > 0, "its end was met");
}

#[tokio::test]
async fn msh_05_a_lost_answer_is_asked_again_elsewhere_if_the_contract_allows_it() {
    for idempotent in [true, false] {
        let caller = Caller::backend();
        let ([one, two], _leases) = caller.servers(["one", "two"]).await;
        let (mut agents, mut health) = (caller.agents(), caller.client());
        let call = tokio::spawn(async move {
            if idempotent {
                agents.get_agent(get(HOLD)).await.map(|_| ())
            } else {
                health.check(ask(HOLD)).await.map(|_| ())
            }
        });
        until(|| one.calls() + two.calls() == 1).await;
        let (busy, idle) = if one.calls() == 1 {
            (one, two)
        } else {
            (two, one)
        };
        idle.open_gate(1);
        busy.kill();
        let outcome = timeout(PATIENCE, call).await.unwrap().unwrap();
        assert_eq!(idle.calls(), usize::from(idempotent));
        assert_eq!(outcome.is_ok(), idempotent, "{outcome:?}");
        if let Err(status) = outcome {
            assert_eq!(code_and_reason(status).1, "connection_lost");
        }
    }
}

#[tokio::test]
async fn msh_05_retries_stay_within_their_budget() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    one.set_ill(true);
    two.set_ill(true);
    let mut client = caller.agents();
    for _ in 0..500 {
        let status = client.get_agent(get("any")).await.unwrap_err();
        assert_eq!(code_and_reason(status).1, "ill");
    }
    let tries = one.calls() + two.calls();
    // A tenth of the calls, and ten for a window; a second more for each second that it took.
    assert!((510..=600).contains(&tries), "{tries} tries for 500 calls");
}

#[tokio::test]
async fn msh_05_a_large_request_is_sent_once_and_whole() {
    for (length, repeated) in [(KEPT - 1_024, true), (KEPT + 1_024, false)] {
        let caller = Caller::backend();
        let ([_well, ill], _leases) = caller.servers(["well", "ill"]).await;
        ill.set_ill(true);
        let mut client = caller.agents();
        let mut failed = 0;
        for _ in 0..40 {
            match client.get_agent(get(&"x".repeat(length))).await {
                Ok(agent) => assert_eq!(agent.into_inner().version, length.to_string()),
                Err(_) => failed += 1,
            }
        }
        assert!(ill.calls() > 0);
        assert_eq!(failed == 0, repeated, "{failed} of {length} bytes failed");
    }
}
