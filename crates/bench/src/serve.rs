//! The server under the raw programs: hyper's HTTP/1.1 on a port of 127.0.0.1.

use std::{error::Error, net::Ipv4Addr};

use http::{Request, Response};
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::Service,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::failure::Failure;

type BoxError = Box<dyn Error + Send + Sync>;

/// Serves until the process is ended.
pub(crate) async fn serve<S, B>(port: u16, service: S) -> Result<(), Failure>
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(Failure::doing("listen"))?;
    loop {
        let (stream, _) = listener.accept().await.map_err(Failure::doing("accept"))?;
        let _ = stream.set_nodelay(true);
        let service = service.clone();
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new());
            // A client that goes away is no fault of a server.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
