//! A raw axum answer: one route, one small JSON.

use std::{net::Ipv4Addr, process::ExitCode};

use axum::{Json, Router, routing::get, serve::ListenerExt};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::failure::Failure;

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

/// Serves on a port of 127.0.0.1 until the process is ended.
pub(crate) async fn run(port: u16) -> Result<ExitCode, Failure> {
    let health = get(async || Json(Health { status: "ok" }));
    serve(port, Router::new().route("/health", health)).await
}

/// Serves routes on a port of 127.0.0.1 until the process is ended.
pub(super) async fn serve(port: u16, routes: Router) -> Result<ExitCode, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(Failure::doing("listen"))?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, routes)
        .await
        .map_err(Failure::doing("serve"))?;
    Ok(ExitCode::SUCCESS)
}
