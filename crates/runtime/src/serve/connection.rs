//! One connection, from its first byte to its last.

use std::{convert::Infallible, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, body::Body, extract::ConnectInfo};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use tokio::{net::TcpStream, time::sleep};
use tonic::Status;
use tower::ServiceExt;
use tracing::{Span, debug};

use super::{AGE, End, Ends, HEADER_TIME, Protocol, Until, leftover::Leftover, load::Requests};
use crate::parting::{LastWords, STOPPING, shutting_down};

/// Time for the last bytes of an answer to leave after it ended.
const FLUSH: Duration = Duration::from_millis(100);

/// What one connection is served with.
pub(super) struct Connection {
    pub(super) builder: auto::Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) ends: Ends,
    /// The span of the listener. It is entered to say something, not for each poll, which would cost
    /// 600 instructions for each piece of an answer: requests have spans of their own.
    pub(super) span: Span,
}

impl Connection {
    pub(super) async fn run(self, stream: TcpStream) {
        // Tokens are small and must leave at once; a socket that refuses is already closed.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let requests = Requests::new();
        let service = service_fn(|request| self.answer(request, &requests));
        let connection = self
            .builder
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        let mut first_request = pin!(sleep(HEADER_TIME));
        let mut age = pin!(sleep(AGE));
        let (mut closing, mut judged) = (false, false);
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(parent: &self.span, error, peer = %self.peer, "connection ended early");
                    }
                    return;
                }
                () = self.ends.refuse.cancelled(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                () = age.as_mut(), if !closing => {
                    closing = true;
                    connection.as_mut().graceful_shutdown();
                }
                // Bounds what hyper does not: a client that never finishes its first head.
                () = first_request.as_mut(), if !judged => {
                    judged = true;
                    if !requests.any() {
                        return;
                    }
                }
                () = self.ends.cut.cancelled() => break,
                () = self.ends.drop.cancelled() => return,
            }
        }
        // Even with no request open the last one may have ended this moment, its last bytes unsent.
        let flushed = async {
            requests.until_idle().await;
            sleep(FLUSH).await;
        };
        tokio::select! {
            _ = connection => {}
            () = flushed => {}
            () = self.ends.drop.cancelled() => {}
        }
    }

    /// Answers one request; the answer breaks off when the service is cut off.
    fn answer(
        &self,
        request: Request<Incoming>,
        requests: &Requests,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + use<> {
        let open = requests.begin();
        let protocol = self.protocol;
        let cut = self.ends.cut.clone();
        let (mut request, leftover) = Leftover::watch(request);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.clone().oneshot(request);
        async move {
            let mut response = tokio::select! {
                biased;
                response = answer => response?,
                () = cut.cancelled() => {
                    // This answer is the last word itself, so nothing cuts it off.
                    let whole = Box::pin(std::future::pending());
                    let response = stopping(protocol);
                    return Ok(response.map(|body| Body::new(Until::new(body, whole, open))));
                }
            };
            leftover.settle(response.headers_mut()).await;
            let last_words = response.extensions().get::<LastWords>().cloned();
            let end = Box::pin(async move {
                cut.cancelled_owned().await;
                match (protocol, last_words) {
                    (Protocol::Grpc, _) => End::Trailers(Status::unavailable(STOPPING)),
                    (Protocol::Http, Some(LastWords(frame))) => End::Said(frame, STOPPING),
                    (Protocol::Http, None) => End::Broken(STOPPING),
                }
            });
            Ok(response.map(|body| Body::new(Until::new(body, end, open))))
        }
    }
}

fn stopping(protocol: Protocol) -> Response<Body> {
    match protocol {
        Protocol::Http => shutting_down().into_response().map(Body::from),
        Protocol::Grpc => Status::unavailable(STOPPING).into_http(),
    }
}
