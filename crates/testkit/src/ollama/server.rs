//! The sockets of a fake node: a port that can be closed, and connections that can be cut at a byte.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, extract::Request};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tower::ServiceExt;

use super::{Fault, Script, record::Record, routes};

/// Serves until it is aborted, which drops every connection.
pub(super) async fn run(
    first: TcpListener,
    mut script: watch::Receiver<Script>,
    record: Arc<Record>,
) {
    let Ok(address) = first.local_addr() else {
        return;
    };
    let router = routes::routes(script.clone(), record);
    let mut listener = Some(first);
    loop {
        let open = match listener.take() {
            Some(open) => open,
            None => bind_again(address).await,
        };
        accept_until_refused(open, &router, &mut script).await;
        if script
            .wait_for(|script| script.fault != Some(Fault::Refuse))
            .await
            .is_err()
        {
            return;
        }
    }
}

async fn accept_until_refused(
    listener: TcpListener,
    router: &Router,
    script: &mut watch::Receiver<Script>,
) {
    let mut connections = JoinSet::new();
    let opened = Arc::new(Mutex::new(Vec::<Connection>::new()));
    loop {
        let socket = tokio::select! {
            refused = script.wait_for(|script| script.fault == Some(Fault::Refuse)) => {
                drop(refused);
                for connection in opened.lock().drain(..) {
                    connection.cut_after(0);
                }
                return;
            }
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(_) => continue,
            },
        };
        while connections.try_join_next().is_some() {}
        let connection = Connection::default();
        opened.lock().push(connection.clone());
        connections.spawn(serve(socket, connection, router.clone()));
    }
}

/// The port may still be held by connections that are going down.
async fn bind_again(address: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

async fn serve(socket: TcpStream, connection: Connection, router: Router) {
    // Without this a token could wait for the acknowledgement of the one before.
    let _ = socket.set_nodelay(true);
    let io = TokioIo::new(Cuttable {
        socket,
        connection: connection.clone(),
    });
    let service = router.map_request(move |mut request: Request<_>| {
        request.extensions_mut().insert(connection.clone());
        request
    });
    // A client that goes away ends the connection with an error: expected.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(io, TowerToHyperService::new(service))
        .await;
}

/// Handle of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection(Arc<Mutex<Option<usize>>>);

impl Connection {
    /// Cuts the connection after this many more bytes.
    pub(super) fn cut_after(&self, bytes: usize) {
        *self.0.lock() = Some(bytes);
    }

    /// Takes back an order to cut the connection.
    pub(super) fn keep(&self) {
        *self.0.lock() = None;
    }

    /// Tells whether the script wants this connection cut.
    pub(super) fn is_ours_to_cut(&self) -> bool {
        self.0.lock().is_some()
    }
}

struct Cuttable {
    socket: TcpStream,
    connection: Connection,
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let allowed = match *self.connection.0.lock() {
            Some(0) => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Some(left) => left.min(bytes.len()),
            None => bytes.len(),
        };
        let written =
            std::task::ready!(Pin::new(&mut self.socket).poll_write(cx, &bytes[..allowed]))?;
        if let Some(left) = self.connection.0.lock().as_mut() {
            *left -= written;
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if *self.connection.0.lock() == Some(0) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
