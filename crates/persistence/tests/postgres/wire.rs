//! A TCP wire to the server that a test can cut.

use std::net::{Ipv4Addr, SocketAddr};

use sqlx::{ConnectOptions, postgres::PgConnectOptions};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A wire that listens on a port of its own and leads to the server.
pub(crate) struct Wire {
    server: PgConnectOptions,
    here: SocketAddr,
    /// The one task that holds the listener and all connections.
    task: JoinSet<()>,
}

impl Wire {
    /// Lays a wire to the server of this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let mut wire = Self {
            server: url.parse().unwrap(),
            here: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            task: JoinSet::new(),
        };
        wire.join().await;
        wire
    }

    /// Returns the URL of the server through the wire.
    pub(crate) fn url(&self) -> String {
        let through = self.server.clone().host("127.0.0.1").port(self.here.port());
        through.to_url_lossy().to_string()
    }

    /// Breaks all connections and refuses further ones.
    pub(crate) async fn cut(&mut self) {
        self.task.shutdown().await;
    }

    /// Listens again, on the same port.
    pub(crate) async fn join(&mut self) {
        let listener = TcpListener::bind(self.here).await.unwrap();
        self.here = listener.local_addr().unwrap();
        let server = (self.server.get_host().to_owned(), self.server.get_port());
        self.task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let server = server.clone();
                connections.spawn(async move {
                    if let Ok(mut upstream) = TcpStream::connect(server).await {
                        // Either end may go at any time: that is what the wire is for.
                        let _ = copy_bidirectional(&mut client, &mut upstream).await;
                    }
                });
            }
        });
    }
}
