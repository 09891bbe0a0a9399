//! Who answers with faults gets fewer calls, but the last one always gets them.

use super::*;

#[tokio::test]
async fn msh_05_one_of_three_that_fails_is_left_out() {
    let caller = Caller::backend();
    let (servers, _leases) = caller.servers(["one", "two", "three"]).await;
    servers[1].set_ill(true);
    let mut client = caller.agents();
    for _ in 0..300 {
        client.get_agent(get("any")).await.unwrap();
    }
    assert_eq!(servers[1].calls(), 5, "five faults in a row are enough");
    assert_eq!(servers[0].calls() + servers[2].calls(), 300);
    // Its breaker lets it be: it did answer, in the platform's own words.
    assert_eq!(caller.breaker("two").state, State::Closed);
}

#[tokio::test]
async fn msh_05_when_all_fail_all_are_still_tried() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    one.set_ill(true);
    two.set_ill(true);
    let mut client = caller.client();
    for _ in 0..60 {
        let status = client.check(ask("")).await.unwrap_err();
        assert_eq!(code_and_reason(status).1, "ill");
    }
    assert_eq!(one.calls() + two.calls(), 60, "every call reached somebody");
    one.set_ill(false);
    two.set_ill(false);
    for _ in 0..20 {
        client.check(ask("")).await.unwrap();
    }
}

#[tokio::test]
async fn msh_05_the_last_one_is_never_left_out() {
    let (caller, one, two) = (Caller::backend(), TestServer::start(), TestServer::start());
    let _one = caller.register(&one, "one").await;
    let two_lease = caller.register(&two, "two").await;
    one.set_ill(true);
    let mut client = caller.client();
    while one.calls() < 5 {
        let _ = client.check(ask("")).await;
    }
    let before = one.calls();
    for _ in 0..50 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!(one.calls(), before, "left out while there is another");

    two_lease.close().await.unwrap();
    one.set_ill(false);
    for _ in 0..50 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!(one.calls(), before + 50);
}

#[tokio::test]
async fn msh_05_one_of_three_that_is_slow_gets_few_calls_and_no_blame() {
    /// Callers at a time, and how long they call.
    const CALLERS: usize = 12;
    const TIME: Duration = Duration::from_secs(2);
    /// How long the slow one takes; the others need less than a millisecond.
    const SLOW: Duration = Duration::from_millis(250);

    let caller = Caller::backend();
    let (servers, _leases) = caller.servers(["one", "two", "three"]).await;
    servers[1].set_slow(SLOW);
    let until = Instant::now() + TIME;
    let calls = futures::future::join_all((0..CALLERS).map(|_| {
        let mut client = caller.client();
        async move {
            while Instant::now() < until {
                client.check(ask("")).await.unwrap();
            }
        }
    }));
    calls.await;
    let slow = servers[1].calls();
    let all: usize = servers.iter().map(TestServer::calls).sum();
    // It is asked while it is the less busy of two, and that is when hardly anybody waits for it.
    assert!(slow > 0 && slow * 20 < all, "{slow} of {all} calls");
    let breaker = caller.breaker("two");
    assert_eq!((breaker.state, breaker.failures), (State::Closed, 0));
}

#[tokio::test]
async fn msh_05_whoever_has_the_address_of_another_service_by_now_is_passed_over() {
    let (caller, right, reused) = (Caller::backend(), TestServer::start(), TestServer::start());
    let _right = caller.register(&right, "right").await;
    let _stale = caller.register(&reused, "stale").await;
    reused.become_another_service();
    let mut client = caller.client();
    for _ in 0..50 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!((right.calls(), reused.calls()), (50, 1));
    assert_eq!(caller.breaker("stale").failures, 1, "it is not well");

    // Where there is nobody else, the service is missing; nobody has a wrong credential.
    let alone = Caller::backend();
    let _stale = alone.register(&reused, "stale").await;
    let (code, reason) = code_and_reason(alone.client().check(ask("")).await.unwrap_err());
    assert_eq!(
        (code, reason.as_str()),
        (ErrorCode::Unavailable, "instance_unreachable")
    );
}
