//! One connection to one instance, over HTTP/2.
//!
//! It is hyper's own. A channel of tonic that lost its connection makes another one with calls already in
//! its hands: each of them tries anew, and nobody can tell whether a call that failed was sent.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderValue, Request, Response, Uri, header,
    uri::{Authority, Scheme},
};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tonic::body::Body;

use super::connections::CALLS;
use crate::http::USER_AGENT;

/// How long opening a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a quiet connection is asked whether its peer is still there, and how long it may
/// take to answer. A dead peer is found out after the sum.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes that wait for the reader of one call, at most.
const CALL_WINDOW: u32 = 64 * 1024;
/// Bytes that wait for all readers of a connection. As many as its calls may have: readers that stopped take
/// nothing from the others.
const WINDOW: u32 = CALL_WINDOW * CALLS;

/// An open connection; clones share it.
#[derive(Clone)]
pub(super) struct Link {
    sender: http2::SendRequest<Body>,
    authority: Authority,
    answered: Arc<AtomicBool>,
}

/// How a connection ended.
pub(super) struct Ended {
    /// Whether it ever brought an answer.
    pub(super) had_answers: bool,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Nobody takes it.
    #[error(transparent)]
    Tcp(#[from] io::Error),
    /// Who takes it does not speak HTTP/2.
    #[error(transparent)]
    Http(#[from] hyper::Error),
    /// It took too long.
    #[error("not connected within {} s", CONNECT_TIMEOUT.as_secs())]
    TimedOut,
}

impl Link {
    /// Connects, and returns the connection with what ends when it does.
    pub(super) async fn open(
        address: SocketAddr,
    ) -> Result<(Self, impl Future<Output = Ended> + Send + 'static), ConnectError> {
        let opening = async {
            let stream = TcpStream::connect(address).await?;
            // Tokens are small and must leave at once.
            stream.set_nodelay(true)?;
            let shaking = http2::Builder::new(TokioExecutor::new())
                .timer(TokioTimer::new())
                .keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .keep_alive_while_idle(true)
                .initial_stream_window_size(CALL_WINDOW)
                .initial_connection_window_size(WINDOW)
                .handshake(TokioIo::new(stream));
            Ok::<_, ConnectError>(shaking.await?)
        };
        let opened = timeout(CONNECT_TIMEOUT, opening).await;
        let (sender, connection) = opened.map_err(|_| ConnectError::TimedOut)??;
        let answered = Arc::new(AtomicBool::new(false));
        let link = Self {
            sender,
            authority: authority(address),
            answered: Arc::clone(&answered),
        };
        let end = async move {
            if let Err(error) = connection.await {
                tracing::debug!(%address, %error, "connection broke");
            }
            Ended {
                had_answers: answered.load(Ordering::Relaxed),
            }
        };
        Ok((link, end))
    }

    /// Tells whether it takes no call any more.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Sends a request and returns with the head of the answer.
    pub(super) async fn send(
        mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let mut uri = std::mem::take(request.uri_mut()).into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        // Scheme, authority and the path that every URI has make one.
        *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        let response = self.sender.send_request(request).await?;
        self.answered.store(true, Ordering::Relaxed);
        Ok(response)
    }
}

/// An address is an authority as it is written.
fn authority(address: SocketAddr) -> Authority {
    let text = address.to_string();
    Authority::from_maybe_shared(text).unwrap_or_else(|_| Authority::from_static("localhost"))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn every_address_is_an_authority() {
        for text in ["127.0.0.1:80", "[::1]:65535"] {
            assert_eq!(authority(text.parse().unwrap()).as_str(), text);
        }
    }

    #[tokio::test]
    async fn a_connection_that_its_peer_closed_says_so_when_it_has_ended() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (link, end) = Link::open(address).await.unwrap();
        assert!(!link.is_closed());
        drop(listener.accept().await.unwrap());
        assert!(!end.await.had_answers);
        assert!(link.is_closed());
        drop(listener);
        let refused = Link::open(address).await.map(drop);
        assert!(matches!(refused, Err(ConnectError::Tcp(_))), "{refused:?}");
    }
}
