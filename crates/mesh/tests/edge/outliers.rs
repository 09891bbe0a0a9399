//! Who answers with faults gets fewer calls, but the last one always gets them.

use super::*;

#[tokio::test]
async fn msh_05_one_of_three_that_fails_is_left_out() {
    let caller = Caller::backend();
    let servers = [
        TestServer::start(),
        TestServer::start(),
        TestServer::start(),
    ];
    let mut leases = Vec::new();
    for (server, id) in servers.iter().zip(["one", "two", "three"]) {
        leases.push(caller.register(server, id).await);
    }
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
    let (caller, one, two) = (Caller::backend(), TestServer::start(), TestServer::start());
    let _leases = (
        caller.register(&one, "one").await,
        caller.register(&two, "two").await,
    );
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
