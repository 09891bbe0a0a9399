//! One connection, from its first byte to its last.

use std::{
    convert::Infallible,
    error::Error,
    future::{Pending, pending},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, body::Body, extract::ConnectInfo};
use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Either},
    stream::FuturesUnordered,
};
use http::{Request, Response};
use http_body::Body as _;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulConnection};
use tokio::{net::TcpStream, time::sleep};
use tonic::Status;
use tower::ServiceExt;
use tracing::{Span, debug};

use super::{
    AGE, End, Ends, HEADER_TIME, Protocol, Until,
    leftover::Leftover,
    load::{OpenRequest, Requests},
    versions::Versions,
};
use crate::parting::{LastWords, STOPPING, shutting_down};

/// What HTTP/2 begins with, and no request of HTTP/1.1.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Time for the last bytes of an answer to leave after it ended.
const FLUSH: Duration = Duration::from_millis(100);

/// Longest silence inside the body of a request.
const BODY_SILENCE: Duration = Duration::from_secs(30);

/// Largest answer, in bytes, that leaves at once where it is there as a whole.
const SMALL: u64 = 64 * 1024;

/// The body of an answer; one that leaves at once is not cut off.
type AnswerBody = Until<Either<Pending<End>, BoxFuture<'static, End>>, OpenRequest>;

/// What a connection hears of beside its requests.
enum Word {
    /// It is to end with its open requests.
    Close,
    /// The time for its first head is over.
    Judge,
    /// Open requests end now.
    Cut,
    /// It ends at once.
    Drop,
}

/// What a connection begins with.
enum First {
    /// No preface of HTTP/2.
    Http1,
    /// All of it, or as much as has come.
    Other,
}

/// What one connection is served with.
pub(super) struct Connection {
    pub(super) versions: Arc<Versions>,
    pub(super) router: Router,
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) ends: Ends,
    /// The span of the listener. It is entered to say something, not for each poll, which would cost
    /// 600 instructions for each piece of an answer: requests have spans of their own.
    pub(super) span: Span,
}

impl Connection {
    pub(super) async fn run(&self, stream: TcpStream) {
        // Tokens are small and must leave at once; a socket that refuses is already closed.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let mut words = self.words();
        let first = tokio::select! {
            biased;
            first = first_bytes(&stream, self.protocol) => first,
            // Without a request, each word ends it.
            Some(_) = words.next() => return,
        };
        let requests = Requests::new();
        let service = service_fn(|request| self.answer(request, &requests));
        let stream = TokioIo::new(stream);
        match first {
            First::Http1 => {
                let connection = pin!(self.versions.http1.serve_connection(stream, service));
                self.drive(connection, words, &requests).await;
            }
            First::Other => {
                // Boxed: it is larger, and every connection would be as large.
                let connection = self.versions.any.serve_connection(stream, service);
                self.drive(Box::pin(connection).as_mut(), words, &requests)
                    .await;
            }
        }
    }

    /// Lets a connection go on until it ends or hears that it has to.
    async fn drive<C>(
        &self,
        mut connection: Pin<&mut C>,
        mut words: FuturesUnordered<BoxFuture<'static, Word>>,
        requests: &Requests,
    ) where
        C: GracefulConnection<Error: Into<Box<dyn Error + Send + Sync>>>,
    {
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        let error: Box<dyn Error + Send + Sync> = error.into();
                        debug!(parent: &self.span, error, peer = %self.peer, "connection ended early");
                    }
                    return;
                }
                Some(word) = words.next() => match word {
                    Word::Close => connection.as_mut().graceful_shutdown(),
                    Word::Judge if requests.any() => {}
                    Word::Cut => break,
                    Word::Judge | Word::Drop => return,
                },
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

    /// What this connection may hear. Together they are looked at only when one of them has come: each
    /// piece of an answer wakes the connection, and five looks would cost 500 instructions.
    fn words(&self) -> FuturesUnordered<BoxFuture<'static, Word>> {
        let Ends { refuse, cut, drop } = self.ends.clone();
        let close = async move {
            tokio::select! {
                () = refuse.cancelled() => {}
                () = sleep(AGE) => {}
            }
            Word::Close
        };
        // Bounds what hyper does not: a client that never finishes its first head.
        let judge = sleep(HEADER_TIME).map(|()| Word::Judge);
        let cut = cut.cancelled_owned().map(|()| Word::Cut);
        let drop = drop.cancelled_owned().map(|()| Word::Drop);
        [close.boxed(), judge.boxed(), cut.boxed(), drop.boxed()]
            .into_iter()
            .collect()
    }

    /// Answers one request; the answer breaks off when the service is cut off.
    fn answer(
        &self,
        request: Request<Incoming>,
        requests: &Requests,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send + use<> {
        let open = requests.begin();
        let protocol = self.protocol;
        let cut = self.ends.cut.clone();
        // A stream of gRPC may be silent for as long as it wants to.
        let silence = (protocol == Protocol::Http).then_some(BODY_SILENCE);
        let (mut request, leftover) = Leftover::watch(request, silence);
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let answer = self.router.clone().oneshot(request);
        async move {
            let mut response = tokio::select! {
                biased;
                response = answer => response?,
                () = cut.cancelled() => {
                    // This answer is the last word itself, so nothing cuts it off.
                    let response = stopping(protocol);
                    return Ok(response.map(|body| Until::new(body, Either::Left(pending()), open)));
                }
            };
            leftover.settle(response.headers_mut()).await;
            let last_words = response.extensions().get::<LastWords>().cloned();
            let size = response.body().size_hint().exact();
            let end = if size.is_some_and(|size| size <= SMALL) {
                Either::Left(pending())
            } else {
                let end = async move {
                    cut.cancelled_owned().await;
                    match (protocol, last_words) {
                        (Protocol::Grpc, _) => End::Trailers(Status::unavailable(STOPPING)),
                        (Protocol::Http, Some(LastWords(frame))) => End::Said(frame, STOPPING),
                        (Protocol::Http, None) => End::Broken(STOPPING),
                    }
                };
                Either::Right(end.boxed())
            };
            Ok(response.map(|body| Until::new(body, end, open)))
        }
    }
}

/// Looks at the first bytes and leaves them where they are. hyper would take them out to tell the two
/// protocols apart, and give them back as a first piece, after which its buffer grows to twice 8 KiB.
async fn first_bytes(stream: &TcpStream, protocol: Protocol) -> First {
    let mut first = [0; PREFACE.len()];
    match (protocol, stream.peek(&mut first).await) {
        (Protocol::Http, Ok(length)) if length > 0 && !PREFACE.starts_with(&first[..length]) => {
            First::Http1
        }
        _ => First::Other,
    }
}

fn stopping(protocol: Protocol) -> Response<Body> {
    match protocol {
        Protocol::Http => shutting_down().into_response().map(Body::from),
        Protocol::Grpc => Status::unavailable(STOPPING).into_http(),
    }
}
