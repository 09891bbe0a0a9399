//! What an answer says about its callee, and its body.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use pin_project_lite::pin_project;
use sutazai_proto::{ErrorCode, RemoteError, to_status};
use sutazai_resilience::Deadline;
use tokio::time::Sleep;
use tonic::{Code, Status, body::Body};

use super::EdgeError;
use super::connections::Slot;
use super::member::InFlight;
use crate::catalog::ServiceName;

/// Returns the error with which an answer begins, if it begins with one.
pub(super) fn first_error<B>(response: &Response<B>) -> Option<RemoteError> {
    match Status::from_header_map(response.headers()) {
        Some(status) if status.code() == Code::Ok => None,
        Some(status) => Some(RemoteError::from(status)),
        None if response.status() == StatusCode::OK => None,
        None => Some(foreign(response.status())),
    }
}

/// Reads the status of something between us and the callee that does not speak gRPC.
fn foreign(status: StatusCode) -> RemoteError {
    let code = match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => ErrorCode::Unavailable,
        _ => ErrorCode::BadUpstream,
    };
    RemoteError::new(
        code,
        "no_grpc_answer",
        format!("answered with HTTP {status}, not gRPC"),
    )
}

pin_project! {
    /// The body of an answer: one call in flight on its connection until dropped, and over at the deadline.
    pub(super) struct Answer {
        #[pin]
        inner: Body,
        #[pin]
        deadline: Sleep,
        callee: ServiceName,
        held: (InFlight, Slot),
        over: bool,
    }
}

impl Answer {
    pub(super) fn new(
        inner: Body,
        deadline: Deadline,
        callee: ServiceName,
        held: (InFlight, Slot),
    ) -> Self {
        let deadline = tokio::time::sleep(deadline.remaining());
        Self {
            inner,
            deadline,
            callee,
            held,
            over: false,
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.project();
        if *this.over {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = this.inner.poll_frame(cx) {
            return Poll::Ready(frame);
        }
        ready!(this.deadline.poll(cx));
        *this.over = true;
        let error = EdgeError::DeadlineExceeded(*this.callee);
        Poll::Ready(Some(Err(to_status(&error))))
    }

    fn is_end_stream(&self) -> bool {
        self.over || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
