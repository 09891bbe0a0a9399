//! Metrics for whoever scrapes them on this machine.

use std::net::SocketAddr;

use axum::{
    extract::ConnectInfo,
    response::{IntoResponse, Response},
};
use http::header;
use sutazai_proto::{ErrorCode, Problem};

/// Prometheus text format 0.0.4.
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn show(ConnectInfo(peer): ConnectInfo<SocketAddr>) -> Response {
    // An IPv4 peer of an IPv6 socket has a mapped address.
    if !peer.ip().to_canonical().is_loopback() {
        return Problem::new(
            ErrorCode::PermissionDenied,
            "loopback_only",
            "metrics are shown to this machine only",
        )
        .into_response()
        .into_response();
    }
    let headers = [
        (header::CONTENT_TYPE, CONTENT_TYPE),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, sutazai_telemetry::metrics::render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn api_03_strangers_see_no_metrics() {
        for (peer, status) in [
            ("127.0.0.1:9", 200),
            ("[::1]:9", 200),
            ("[::ffff:127.0.0.1]:9", 200),
            ("10.0.0.7:9", 403),
            ("[::ffff:10.0.0.7]:9", 403),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            assert_eq!(show(ConnectInfo(peer)).await.status(), status, "{peer}");
        }
    }
}
