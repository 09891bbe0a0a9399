//! Connections that end, or never begin: who finds out, and what becomes of the calls.

use super::refuser::{How, Refuser};
use super::*;

/// Registers a refuser that passes connections beyond the first ones on to a server.
async fn refused(caller: &Caller, how: How, first: usize, to: &TestServer) -> (Refuser, Lease) {
    let refuser = Refuser::start(how, first, to.address).await;
    let instance = instance("refuser", CALLEE, refuser.address);
    let lease = caller.registry.register(instance).await.unwrap();
    (refuser, lease)
}

#[tokio::test]
async fn msh_05_a_dead_instance_fails_no_call() {
    let (caller, alive) = (Caller::backend(), TestServer::start());
    let _alive = caller.register(&alive, "alive").await;
    let dead = instance("dead", CALLEE, dead_address());
    let _dead = caller.registry.register(dead).await.unwrap();
    let mut client = caller.client();
    for _ in 0..100 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!(alive.calls(), 100);
    assert_eq!(caller.breaker("dead").failures, 1, "one try is enough");
    assert_eq!(caller.breaker("alive").state, State::Closed);
}

#[tokio::test]
async fn msh_05_however_many_wait_for_a_connection_it_is_one_failed_try() {
    let (caller, alive) = (Caller::backend(), TestServer::start());
    let _alive = caller.register(&alive, "alive").await;
    let dead = instance("dead", CALLEE, dead_address());
    let _dead = caller.registry.register(dead).await.unwrap();
    let calls = futures::future::join_all((0..200).map(|_| {
        let mut client = caller.client();
        async move { client.check(ask("")).await }
    }));
    for answer in calls.await {
        answer.unwrap();
    }
    assert_eq!(alive.calls(), 200);
    let dead = caller.breaker("dead");
    assert_eq!((dead.failures, dead.state), (1, State::Closed));
}

#[tokio::test]
async fn msh_05_the_end_of_an_instance_is_met_before_the_next_call() {
    let caller = Caller::backend();
    let ([one, two], _leases) = caller.servers(["one", "two"]).await;
    let mut client = caller.client();
    while one.calls() == 0 || two.calls() == 0 {
        client.check(ask("")).await.unwrap();
    }
    let before = one.calls();
    two.kill();
    // Nobody calls, and yet it is tried: its connection had been of use.
    until(|| caller.breaker("two").failures == 1).await;
    for _ in 0..100 {
        client.check(ask("")).await.unwrap();
    }
    assert_eq!(one.calls(), before + 100);
    assert_eq!(caller.breaker("two").failures, 1, "one try is enough");
}

#[tokio::test]
async fn msh_05_of_those_that_wait_on_a_connection_only_who_was_sent_is_lost() {
    // One call at a time on a connection: the others wait in it.
    let (caller, server) = (Caller::backend(), TestServer::start());
    let (refuser, _lease) = refused(&caller, How::Ends, 1, &server).await;
    let call = || {
        let mut client = caller.client();
        tokio::spawn(async move { client.check(ask("")).await })
    };
    let sent = call();
    until(|| refuser.requests() == 1).await;
    let waiting = [call(), call(), call()];
    // They are on their way as soon as this task lets them.
    sleep(Duration::from_millis(200)).await;
    assert_eq!(server.calls(), 0);
    refuser.end();
    let lost = timeout(PATIENCE, sent).await.unwrap().unwrap();
    assert_eq!(code_and_reason(lost.unwrap_err()).1, "connection_lost");
    for call in waiting {
        timeout(PATIENCE, call).await.unwrap().unwrap().unwrap();
    }
    assert_eq!((refuser.requests(), server.calls()), (1, 3));
}

#[tokio::test]
async fn msh_05_a_call_that_was_not_taken_is_made_elsewhere_whatever_it_does() {
    for how in [How::RefusesStreams, How::SaysGoodbye] {
        let (caller, server) = (Caller::backend(), TestServer::start());
        let _takes = caller.register(&server, "takes").await;
        let (refuser, _lease) = refused(&caller, how, usize::MAX, &server).await;
        let mut client = caller.client();
        for _ in 0..40 {
            client.check(ask("")).await.unwrap();
        }
        assert_eq!(server.calls(), 40);
        assert!(refuser.requests() > 5, "{how:?}: {}", refuser.requests());
        assert_eq!(caller.breaker("refuser").failures, 0, "{how:?}");
    }
}

#[tokio::test]
async fn msh_05_who_said_goodbye_on_one_connection_is_asked_on_another() {
    let (caller, server) = (Caller::backend(), TestServer::start());
    let (refuser, _lease) = refused(&caller, How::SaysGoodbye, 1, &server).await;
    caller.client().check(ask("")).await.unwrap();
    assert_eq!((refuser.requests(), server.calls()), (1, 1));

    // For ever is nobody asked.
    let caller = Caller::backend();
    let (refuser, _lease) = refused(&caller, How::SaysGoodbye, usize::MAX, &server).await;
    let answer = timeout(PATIENCE, caller.client().check(ask("")))
        .await
        .unwrap();
    let (code, reason) = code_and_reason(answer.unwrap_err());
    assert_eq!(
        (code, reason.as_str()),
        (ErrorCode::Unavailable, "instance_unreachable")
    );
    assert_eq!(refuser.requests(), 2);
}
