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
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // Tokens are small and must leave at once.
    tcp.set_nodelay(true);
    tcp.set_keepalive(Some(TCP_KEEPALIVE));
    let connector = Connector {
        tcp,
        limit: connect_timeout,
        secured: Arc::default(),
    };
    legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(idle)
        .build(connector)
}

/// Connects, and sets TLS up when the first address asks for it: the certificates of all public
/// authorities take memory and time of a start that mostly needs none of them.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    /// Longest time until there is a connection, the handshake of TLS with it.
    limit: Duration,
    secured: Arc<OnceLock<HttpsConnector<HttpConnector>>>,
}

impl Connector {
    fn secured(&self) -> Result<HttpsConnector<HttpConnector>, rustls::Error> {
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

impl Service<Uri> for Connector {
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
            Either::Right(async { Ok(MaybeHttpsStream::Http(connecting.await?)) })
        };
        let limit = self.limit;
        async move { timeout(limit, connecting).await? }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_an_address_that_asks_for_tls_has_it_set_up() {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let mut connector = Connector {
            tcp,
            limit: Duration::from_secs(5),
            secured: Arc::default(),
        };
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
}
