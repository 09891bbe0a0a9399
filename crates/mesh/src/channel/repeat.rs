//! A request that can be sent again: its call is idempotent and its body is small.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, request::Parts};
use http_body::{Body as HttpBody, Frame};
use sutazai_resilience::{Deadline, Elapsed};
use tonic::{Status, body::Body};

use super::call::GRPC_TIMEOUT;

/// Largest body that is kept for another try, in bytes.
const LIMIT: usize = 64 * 1024;

/// What is sent, once or again.
pub(super) enum Outgoing {
    /// A stream, a large body, or a call that may have an effect twice.
    Once(Option<Request<Body>>),
    /// The whole request, kept.
    Kept(Parts, Bytes),
}

/// A body whose beginning was read already.
struct Spliced {
    read: Option<Bytes>,
    fault: Option<Status>,
    rest: Body,
}

impl Outgoing {
    /// Keeps the request if it may be sent again.
    pub(super) async fn of(request: Request<Body>, deadline: Deadline) -> Result<Self, Elapsed> {
        if !sutazai_proto::is_idempotent(request.uri().path()) {
            return Ok(Self::Once(Some(request)));
        }
        let (parts, mut rest) = request.into_parts();
        let mut read = BytesMut::new();
        let mut fault = None;
        loop {
            let next = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx));
            match deadline.run(next).await? {
                // A gRPC request has no trailers.
                Some(Ok(frame)) => read.extend(frame.into_data().unwrap_or_default()),
                Some(Err(status)) => fault = Some(status),
                None => return Ok(Self::Kept(parts, read.freeze())),
            }
            if fault.is_some() || read.len() > LIMIT {
                break;
            }
        }
        let body = Body::new(Spliced {
            read: Some(read.freeze()),
            fault,
            rest,
        });
        Ok(Self::Once(Some(Request::from_parts(parts, body))))
    }

    /// Tells whether there is another request after the first.
    pub(super) fn can_repeat(&self) -> bool {
        matches!(self, Self::Kept(..))
    }

    /// Returns the next request, with what is left of the time.
    pub(super) fn next(&mut self, deadline: Deadline) -> Option<Request<Body>> {
        match self {
            Self::Once(request) => request.take(),
            Self::Kept(parts, bytes) => {
                let mut parts = parts.clone();
                // Digits and a letter are a header value.
                if let Ok(left) = HeaderValue::try_from(deadline.to_grpc_timeout()) {
                    parts.headers.insert(GRPC_TIMEOUT, left);
                }
                let body = Body::new(Spliced {
                    read: Some(bytes.clone()),
                    fault: None,
                    rest: Body::empty(),
                });
                Some(Request::from_parts(parts, body))
            }
        }
    }
}

impl HttpBody for Spliced {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(read) = self.read.take().filter(|read| !read.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(read))));
        }
        if let Some(fault) = self.fault.take() {
            return Poll::Ready(Some(Err(fault)));
        }
        let next = ready!(Pin::new(&mut self.rest).poll_frame(cx));
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_none() && self.fault.is_none() && self.rest.is_end_stream()
    }
}
