//! A raw hyper proxy: a pool of connections to one upstream, bodies passed on frame by frame.

use std::{net::SocketAddr, process::ExitCode};

use http::{Request, Response, Uri, uri::PathAndQuery};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::{failure::Failure, serve::serve};

type Upstream = Client<HttpConnector, Incoming>;

/// Serves on a port of 127.0.0.1 until the process is ended.
pub(crate) async fn run(port: u16, upstream: SocketAddr) -> Result<ExitCode, Failure> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Upstream = Client::builder(TokioExecutor::new()).build(connector);
    let pass = service_fn(move |request| forward(client.clone(), upstream, request));
    serve(port, pass).await?;
    Ok(ExitCode::SUCCESS)
}

/// Sends the request on; an upstream that fails ends the connection, and with it the row.
async fn forward(
    client: Upstream,
    upstream: SocketAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, Box<dyn std::error::Error + Send + Sync>> {
    let path = request
        .uri()
        .path_and_query()
        .map_or("/", PathAndQuery::as_str);
    *request.uri_mut() = format!("http://{upstream}{path}").parse::<Uri>()?;
    Ok(client.request(request).await?)
}
