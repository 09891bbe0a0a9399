//! An instance that answers at both doors, until it is told otherwise or dies.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener as StdListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sutazai_mesh::ServiceName;
use sutazai_mesh::registry::{Instance, InstanceId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Server;
use tonic_health::{ServingStatus, server::HealthReporter};

/// Has threads of its own: its sockets go when they do.
pub(crate) struct Running {
    pub(crate) instance: Instance,
    ready: Arc<AtomicBool>,
    health: HealthReporter,
    /// Takes connections at the door of gRPC.
    accepting: JoinHandle<()>,
    runtime: Option<Runtime>,
}

impl Running {
    pub(crate) fn start(id: &str, service: ServiceName) -> Self {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        Self::at(id, service, free, free)
    }

    /// Starts one where another one was, by its addresses.
    pub(crate) fn at(id: &str, service: ServiceName, grpc: SocketAddr, http: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (health, health_service) = tonic_health::server::health_reporter();
        let (grpc, grpc_address) = listener(grpc);
        let named = health.clone();
        let (taken, incoming) = mpsc::channel(1);
        runtime.spawn(async move {
            let status = ServingStatus::Serving;
            named.set_service_status(service.as_str(), status).await;
            Server::builder()
                .add_service(health_service)
                .serve_with_incoming(ReceiverStream::new(incoming))
                .await
        });
        let accepting = runtime.spawn(accept(grpc, taken));
        let (http, http_address) = listener(http);
        let ready = Arc::new(AtomicBool::new(true));
        runtime.spawn(answer(http, Arc::clone(&ready)));
        let instance = Instance {
            id: InstanceId::new(id),
            service,
            grpc: grpc_address,
            http: Some(http_address),
            version: "0.1.0".to_owned(),
            meta: BTreeMap::from([("zone".to_owned(), "a".to_owned())]),
        };
        Self {
            instance,
            ready,
            health,
            accepting,
            runtime: Some(runtime),
        }
    }

    /// Says at both doors that it is not ready, as a service does before it leaves.
    pub(crate) async fn not_ready(&self) {
        self.ready.store(false, Ordering::SeqCst);
        let status = ServingStatus::NotServing;
        for name in ["", self.instance.service.as_str()] {
            self.health.set_service_status(name, status).await;
        }
    }

    /// Ends it as `kill -9` does: port and connections close, nobody says goodbye. The port is first, as
    /// it is among the files of a process: whoever loses a connection is refused another one.
    #[cfg(feature = "servers")]
    pub(crate) fn kill(mut self) {
        let Instance { grpc, http, .. } = self.instance.clone();
        self.accepting.abort();
        refuses(grpc);
        self.end();
        http.into_iter().for_each(refuses);
    }

    fn end(&mut self) {
        self.accepting.abort();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

fn listener(at: SocketAddr) -> (StdListener, SocketAddr) {
    let listener = StdListener::bind(at).unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits until nobody is at an address.
#[cfg(feature = "servers")]
fn refuses(address: SocketAddr) {
    let died = (0..2_000).any(|_| {
        let refused = std::net::TcpStream::connect(address).is_err();
        if !refused {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        refused
    });
    assert!(died, "the port of a dead instance still answers");
}

/// Hands over what connects.
async fn accept(listener: StdListener, taken: mpsc::Sender<io::Result<TcpStream>>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((stream, _)) = listener.accept().await {
        if taken.send(Ok(stream)).await.is_err() {
            return;
        }
    }
}

/// Answers every request as `/readyz` does.
async fn answer(listener: StdListener, ready: Arc<AtomicBool>) {
    let listener = TcpListener::from_std(listener).unwrap();
    while let Ok((mut stream, _)) = listener.accept().await {
        let status = if ready.load(Ordering::SeqCst) {
            "200 OK"
        } else {
            "503 Service Unavailable"
        };
        tokio::spawn(async move {
            let mut head = [0; 2048];
            let _ = stream.read(&mut head).await;
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}
