//! Starts processes on free ports and talks to them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use sutazai_mesh::{
    catalog::ServiceName,
    channel::Strategies,
    registry::{Registry, memory::MemoryRegistry},
};
use sutazai_runtime::{
    Addresses, Process, Shutdown,
    config::{Base, Profile},
    probe::{Evidence, Failure, Probe},
    service::{Builder, RunError},
};
use tokio::{net::TcpStream, task::JoinHandle, time::timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A process that runs.
pub(crate) struct Running {
    pub(crate) addresses: Addresses,
    pub(crate) shutdown: Shutdown,
    pub(crate) ended: JoinHandle<Result<(), RunError>>,
}

/// An answer over HTTP, read to its end.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn base(grace: Duration) -> Base {
    Base {
        profile: Profile::Dev,
        http_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        grpc_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: None,
        balancing: Strategies::default(),
        drain_grace: grace,
        deregister_pause: Some(Duration::ZERO),
    }
}

pub(crate) fn builder() -> Builder {
    Process::builder(ServiceName::Backend, &base(Duration::from_secs(5)))
}

impl Running {
    /// Starts a process and waits until it is ready.
    pub(crate) async fn start(builder: Builder) -> Self {
        let running = Self::launch(builder, Arc::new(MemoryRegistry::new())).await;
        running.until_status("/readyz", StatusCode::OK).await;
        running
    }

    /// Starts a process that may never get ready.
    pub(crate) async fn launch(builder: Builder, registry: Arc<dyn Registry>) -> Self {
        let process = builder.bind(registry).await.unwrap();
        let shutdown = Shutdown::new();
        Self {
            addresses: process.addresses(),
            ended: tokio::spawn(process.run(shutdown.clone())),
            shutdown,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (head, body) = self.open(request).await.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        }
    }

    /// Sends a request over a connection of its own and returns with the head of the answer.
    pub(crate) async fn open(&self, mut request: Request<Body>) -> Response<Incoming> {
        let address = self.addresses.http;
        let host = address.to_string().parse().unwrap();
        request.headers_mut().insert(http::header::HOST, host);
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        sender.send_request(request).await.unwrap()
    }

    /// Waits until a path answers with a status.
    pub(crate) async fn until_status(&self, path: &str, status: StatusCode) {
        timeout(PATIENCE, async {
            while self.get(path).await.status != status {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
        .unwrap();
    }

    /// Calls over gRPC by hand and returns code and message of the answer's status.
    ///
    /// A ready-made client watches the time too, which would hide what the server does about it.
    pub(crate) async fn call(
        &self,
        path: &str,
        message: &impl Message,
        grpc_timeout: Option<&str>,
    ) -> (Code, String) {
        let stream = TcpStream::connect(self.addresses.grpc).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        tokio::spawn(connection);
        let message = message.encode_to_vec();
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend(message);
        let mut request = Request::post(format!("http://{}{path}", self.addresses.grpc))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(timeout) = grpc_timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let request = request.body(Body::from(frame)).unwrap();
        let (head, body) = sender.send_request(request).await.unwrap().into_parts();
        let trailers = body.collect().await.unwrap().trailers().cloned();
        let status = Status::from_header_map(&head.headers)
            .or_else(|| Status::from_header_map(&trailers?))
            .unwrap();
        (status.code(), status.message().to_owned())
    }

    pub(crate) fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.addresses.grpc)).unwrap();
        #[expect(
            clippy::disallowed_methods,
            reason = "this test is the foreign client of the server"
        )]
        endpoint.connect_lazy()
    }

    /// Stops the process and returns how it ended.
    pub(crate) async fn stop(self) -> Result<(), RunError> {
        self.shutdown.trigger();
        timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }
}

/// A part whose state the test decides.
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) required: bool,
    pub(crate) works: tokio::sync::watch::Receiver<bool>,
}

#[async_trait]
impl Probe for Part {
    fn part(&self) -> &'static str {
        self.name
    }

    fn required(&self) -> bool {
        self.required
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        if *self.works.borrow() {
            Ok(Evidence::new("it works"))
        } else {
            Err(Failure::new("it does not work"))
        }
    }
}

/// A part that never answers.
pub(crate) struct Mute;

#[async_trait]
impl Probe for Mute {
    fn part(&self) -> &'static str {
        "mute"
    }

    fn required(&self) -> bool {
        false
    }

    async fn probe(&self) -> Result<Evidence, Failure> {
        std::future::pending().await
    }
}
