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
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(Failure::doing("listen"))?;
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let routes = Router::new().route("/health", get(async || Json(Health { status: "ok" })));
    axum::serve(listener, routes)
        .await
        .map_err(Failure::doing("serve"))?;
    Ok(ExitCode::SUCCESS)
}
