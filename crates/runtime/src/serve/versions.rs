//! How the versions of HTTP are served: the same bounds for all connections.

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto,
};

use super::{HEADER_BYTES, HEADER_TIME, PENDING_RESETS, PING_AFTER, PING_TIMEOUT, STREAMS};

/// What connections are served with; one for all of a listener.
pub(super) struct Versions {
    /// HTTP/1.1, where the first bytes say so.
    pub(super) http1: http1::Builder,
    /// HTTP/2, and what has yet to show its version.
    pub(super) any: auto::Builder<TokioExecutor>,
}

impl Versions {
    pub(super) fn new() -> Self {
        let mut http1 = http1::Builder::new();
        http1
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(usize::from(HEADER_BYTES));
        let mut any = auto::Builder::new(TokioExecutor::new());
        any.http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME)
            .max_buf_size(usize::from(HEADER_BYTES));
        any.http2()
            .timer(TokioTimer::new())
            .max_header_list_size(u32::from(HEADER_BYTES))
            .max_concurrent_streams(STREAMS)
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_TIMEOUT);
        Self { http1, any }
    }
}
