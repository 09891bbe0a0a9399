//! A network between us and the broker that can fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
};

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// They arrive.
    Open,
    /// Connections are taken and closed at once.
    Refusing,
    /// Connections that stand carry nothing any more, without anybody being told.
    BlackHole,
}

/// A forwarder on a port of its own.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) taken: Arc<AtomicUsize>,
    way: watch::Sender<Way>,
}

impl Proxy {
    pub(super) async fn start(target: u16, way: Way) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let taken = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = watch::channel(way);
        let count = Arc::clone(&taken);
        tokio::spawn(async move {
            while let Ok((here, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                if *receiver.borrow() == Way::Refusing {
                    continue;
                }
                let there = TcpStream::connect(("127.0.0.1", target)).await.unwrap();
                let (here, there) = (here.into_split(), there.into_split());
                tokio::spawn(forward(here.0, there.1, receiver.clone()));
                tokio::spawn(forward(there.0, here.1, receiver.clone()));
            }
        });
        Self {
            address,
            taken,
            way: sender,
        }
    }

    /// Changes the way of bytes. What fell into a black hole stays there: only new connections get
    /// through when it opens again.
    pub(super) fn turn(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn forward(
    mut from: tcp::OwnedReadHalf,
    mut to: tcp::OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    let mut buffer = vec![0; 16 * 1024];
    let fallen = async { way.wait_for(|way| *way == Way::BlackHole).await.is_ok() };
    let carry = tokio::io::copy(&mut from, &mut to);
    tokio::select! {
        biased;
        _ = fallen => {}
        _ = carry => return,
    }
    // Reads on, so that nobody notices by a full window; `to` stays open meanwhile.
    while from.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    drop(to);
}
