//! hyper's client, and the connections that it speaks over.

use std::{
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Either, ready},
};
use http::{Uri, uri::Scheme};
use http_body_util::Full;
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use rustls::ClientConfig;
use tokio::{net::TcpStream, time::timeout};
use tower::{BoxError, Service};

use super::{IDLE_TIMEOUT, TCP_KEEPALIVE};

/// hyper's client; clones share its connections.
///
/// It copies its connector twice for each request, so that is no boxed service.
pub(crate) type Client = legacy::Client<Connector, Full<Bytes>>;

/// A connection, with TLS or without.
type Wire = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Makes a client that keeps at most `idle` connections to one server for later.
///
/// It follows no redirect and asks no proxy: the configuration names each server itself. It sets no
/// total time.
pub(crate) fn client(connect_timeout: Duration, idle: usize) -> Client {
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle)
        .build(Connector::over(HttpConnector::new(), connect_timeout))
}

/// Connects, and sets TLS up when the first address asks for it: the certificates of all public
/// authorities take memory and time of a start that mostly needs none of them.
///
/// Its resolver is asked for each connection: a name may lead elsewhere at any time.
#[derive(Clone, Debug)]
pub(crate) struct Connector<T = HttpConnector> {
    tcp: T,
    /// Longest time until there is a connection, the handshake of TLS with it.
    limit: Duration,
    secured: Arc<OnceLock<HttpsConnector<T>>>,
}

impl<R> Connector<HttpConnector<R>> {
    fn over(mut tcp: HttpConnector<R>, limit: Duration) -> Self {
        tcp.enforce_http(false);
        // Tokens are small and must leave at once.
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        Self {
            tcp,
            limit,
            secured: Arc::default(),
        }
    }
}

impl<T: Clone> Connector<T> {
    fn secured(&self) -> Result<HttpsConnector<T>, rustls::Error> {
        if let Some(made) = self.secured.get() {
            return Ok(made.clone());
        }
        // Fails only where the process has a provider already, and any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let tls = ClientConfig::builder()
            .try_with_platform_verifier()?
            .with_no_client_auth();
        let made = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_all_versions()
            .wrap_connector(self.tcp.clone());
        Ok(self.secured.get_or_init(|| made).clone())
    }
}

impl<T> Service<Uri> for Connector<T>
where
    T: Service<Uri, Response = TokioIo<TcpStream>, Error: Into<BoxError>, Future: Send + 'static>
        + Clone
        + Send,
{
    type Response = Wire;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Wire, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Both connectors always are.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = if uri.scheme() == Some(&Scheme::HTTPS) {
            match self.secured() {
                Ok(mut secured) => Either::Left(secured.call(uri)),
                Err(error) => return ready(Err(error.into())).boxed(),
            }
        } else {
            let connecting = self.tcp.call(uri);
            Either::Right(async {
                let connected = connecting.await.map_err(Into::into)?;
                Ok(MaybeHttpsStream::Http(connected))
            })
        };
        let limit = self.limit;
        async move { timeout(limit, connecting).await? }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::{io, net::SocketAddr};

    use http::Request;
    use http_body_util::BodyExt;
    use hyper_util::client::legacy::connect::dns::Name;
    use parking_lot::Mutex;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
        task::JoinHandle,
    };

    use super::*;

    #[tokio::test]
    async fn only_an_address_that_asks_for_tls_has_it_set_up() {
        let mut connector = Connector::over(HttpConnector::new(), Duration::from_secs(5));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let uri = |scheme: &str| format!("{scheme}://{at}/").parse::<Uri>().unwrap();

        let plain = connector.call(uri("http")).await.unwrap();
        assert!(matches!(plain, MaybeHttpsStream::Http(_)));
        assert!(connector.secured.get().is_none());

        let secured = connector.call(uri("https"));
        assert!(connector.secured.get().is_some());
        // Nobody shakes hands: the server has left.
        drop(listener);
        assert!(secured.await.is_err());
    }

    #[tokio::test]
    async fn nobody_at_an_address_is_no_connection() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = free.local_addr().unwrap();
        drop(free);
        let client = client(Duration::from_secs(5), 1);
        for scheme in ["http", "https"] {
            let request = Request::get(format!("{scheme}://{at}/")).body(Full::default());
            let error = client.request(request.unwrap()).await.unwrap_err();
            assert!(error.is_connect(), "{scheme}: {error:?}");
        }
    }

    /// Answers every request with this letter, over as many connections as there are, and drops them all
    /// when it is aborted.
    fn says(letter: char, listener: TcpListener) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                open.spawn(async move {
                    let mut head = [0; 2048];
                    while stream.read(&mut head).await.is_ok_and(|read| read > 0) {
                        let answer =
                            format!("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{letter}");
                        stream.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        })
    }

    #[tokio::test]
    async fn r6_a_name_that_leads_elsewhere_is_followed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let elsewhere = TcpListener::bind(("127.0.0.2", port)).await.unwrap();
        let (before, after) = (says('a', listener), says('b', elsewhere));
        let known = Arc::new(Mutex::new(([127_u8, 0, 0, 1], 0_u16)));
        let asked = Arc::clone(&known);
        let names = tower::service_fn(move |_: Name| {
            let found = SocketAddr::from(*asked.lock());
            async move { Ok::<_, io::Error>([found].into_iter()) }
        });
        let tcp = HttpConnector::new_with_resolver(names);
        let client = legacy::Client::builder(TokioExecutor::new())
            .build::<_, Full<Bytes>>(Connector::over(tcp, Duration::from_secs(5)));
        let ask = async || {
            let request = Request::get(format!("http://node.test:{port}/")).body(Full::default());
            let answer = client.request(request.unwrap()).await?;
            let body = answer.into_body().collect().await.unwrap();
            Ok::<_, legacy::Error>(body.to_bytes())
        };
        assert_eq!(ask().await.unwrap(), "a");

        *known.lock() = ([127, 0, 0, 2], 0);
        // Its old owner goes, and takes its connections along.
        before.abort();
        assert!(before.await.unwrap_err().is_cancelled());
        let reached = async {
            // The first may still meet the connection that ends.
            loop {
                if let Ok(answer) = ask().await {
                    return answer;
                }
            }
        };
        let answer = tokio::time::timeout(Duration::from_secs(10), reached).await;
        assert_eq!(answer.unwrap(), "b");
        after.abort();
    }
}
