//! The one serve loop: accepts connections, bounds what they may do, and ends them in order.

mod body;
mod connection;
mod leftover;
mod load;
mod versions;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use sutazai_mesh::catalog::ServiceName;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Span, debug, warn};

use versions::Versions;

pub(crate) use body::{End, Until};

/// Time within which a connection must have sent its first request head, and each later one once
/// it began; HTTP/1.1 connections may also be idle this long.
const HEADER_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request, in bytes.
const HEADER_BYTES: u16 = 16 * 1024;
/// Concurrent streams of one HTTP/2 connection.
const STREAMS: u32 = 200;
/// Streams that a client may reset before they were accepted (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Silence of an HTTP/2 connection after which the peer has to prove that it lives.
const PING_AFTER: Duration = Duration::from_secs(30);
/// Time that it has to do so.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Age at which a connection is asked to end, so that clients find other instances.
const AGE: Duration = Duration::from_secs(30 * 60);
/// Open connections of one listener; further ones wait in the kernel's queue.
const CONNECTIONS: usize = 4096;
/// Wait after a failed accept: without it a full file table would turn into a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// HTTP/1.1 and HTTP/2 without TLS.
    Http,
    /// gRPC over HTTP/2 without TLS.
    Grpc,
}

/// The three steps in which serving ends; each happens once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// No further connections or requests; open requests go on.
    pub(crate) refuse: CancellationToken,
    /// Open requests end now, with an answer that says so where the protocol has one.
    pub(crate) cut: CancellationToken,
    /// Whatever is left is dropped.
    pub(crate) drop: CancellationToken,
}

/// Serves `router` until `ends.refuse` and the end of the last connection.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    protocol: Protocol,
    service: ServiceName,
    ends: Ends,
) {
    let versions = Arc::new(Versions::new());
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (connections, gauge) = (TaskTracker::new(), load::Connections::of(service));
    loop {
        let accepted = tokio::select! {
            biased;
            () = ends.refuse.cancelled() => break,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (stream, peer, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_gone(&error) => continue,
            Err(error) => {
                warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let served = connection::Connection {
            versions: versions.clone(),
            router: router.clone(),
            protocol,
            peer,
            ends: ends.clone(),
            span: Span::current(),
        };
        let open = gauge.open();
        connections.spawn(async move {
            served.run(stream).await;
            drop((slot, open));
        });
    }
    // Closes the socket: a client that comes now is refused and can go elsewhere.
    drop(listener);
    connections.close();
    debug!(open = connections.len(), "listener closed");
    connections.wait().await;
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots)
        .acquire_owned()
        .await
        .map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, slot))
}

/// Tells whether the client left before it was accepted, which is no fault of this side.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
    )
}
