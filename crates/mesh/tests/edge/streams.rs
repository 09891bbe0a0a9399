//! Streams that last, more than one connection carries, and streams that nobody reads.

use super::*;

#[tokio::test]
async fn msh_05_streams_that_last_hold_up_no_other_call() {
    let caller = Caller::backend();
    let ([server], _leases) = caller.servers(["one"]).await;
    let streams: JoinSet<_> = (0..server::STREAMS + 50)
        .map(|_| {
            let mut client = caller.client();
            async move {
                let mut stream = client.watch(ask("")).await.unwrap().into_inner();
                stream.message().await.unwrap().unwrap();
                stream
            }
        })
        .collect();
    let open = timeout(PATIENCE, streams.join_all()).await.unwrap();
    let mut client = caller.client();
    timeout(PATIENCE, client.check(ask("")))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(server.calls(), open.len() + 1);
}

#[tokio::test]
async fn msh_05_streams_that_nobody_reads_hold_up_no_other_call() {
    let caller = Caller::backend();
    let ([server], _leases) = caller.servers(["one"]).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        let mut client = caller.client();
        unread.push(client.watch(ask(server::FLOOD)).await.unwrap());
    }
    // Until every one of them holds all that it may.
    let mut sent = 0;
    while sent != server.flooded() {
        sent = server.flooded();
        sleep(Duration::from_millis(500)).await;
    }
    let mut client = caller.client();
    timeout(PATIENCE, client.check(ask("")))
        .await
        .unwrap()
        .unwrap();
}
