//! A request that can be sent again: as long as its body is small, what was read of it is kept.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderValue, Request, request::Parts};
use http_body::{Body as HttpBody, Frame};
use parking_lot::Mutex;
use sutazai_resilience::Deadline;
use tonic::{Status, body::Body};

use super::call::GRPC_TIMEOUT;

/// Largest body that is kept for another try, in bytes.
const LIMIT: usize = 64 * 1024;

/// What is sent, once or again.
pub(super) struct Outgoing {
    parts: Parts,
    body: Arc<Mutex<Kept>>,
    tries: u32,
}

/// The body, shared by all tries; only the last one reads on.
struct Kept {
    /// What was read so far.
    read: Vec<Bytes>,
    length: usize,
    /// Whether that is all of it: not when it was too much, and not after a fault.
    is_whole: bool,
    rest: Body,
    ended: bool,
    /// Number of the try that reads.
    reader: u32,
    /// Whether that one has read anything, be it that there is nothing.
    was_read: bool,
}

/// The body of one try.
struct Reading {
    body: Arc<Mutex<Kept>>,
    number: u32,
    /// How many of the parts that are kept this one has passed on.
    passed: usize,
}

impl Outgoing {
    pub(super) fn of(request: Request<Body>) -> Self {
        let (parts, rest) = request.into_parts();
        let body = Kept {
            read: Vec::new(),
            length: 0,
            is_whole: true,
            rest,
            ended: false,
            reader: 0,
            was_read: false,
        };
        Self {
            parts,
            body: Arc::new(Mutex::new(body)),
            tries: 0,
        }
    }

    /// Tells whether the contract allows the call to be made twice.
    pub(super) fn is_idempotent(&self) -> bool {
        sutazai_proto::is_idempotent(self.parts.uri.path())
    }

    /// Tells whether the whole request can be sent another time.
    pub(super) fn can_repeat(&self) -> bool {
        self.body.lock().is_whole
    }

    /// Tells whether the last try took anything of the body: before that, no callee can have the message.
    pub(super) fn was_read(&self) -> bool {
        self.body.lock().was_read
    }

    /// Returns the next request, with what is left of the time; the one before reads nothing more.
    pub(super) fn next(&mut self, deadline: Deadline) -> Request<Body> {
        let mut parts = self.parts.clone();
        if self.tries > 0
            // Digits and a letter are a header value.
            && let Ok(left) = HeaderValue::try_from(deadline.to_grpc_timeout())
        {
            parts.headers.insert(GRPC_TIMEOUT, left);
        }
        self.tries += 1;
        let mut body = self.body.lock();
        body.reader = self.tries;
        body.was_read = false;
        drop(body);
        let reading = Reading {
            body: Arc::clone(&self.body),
            number: self.tries,
            passed: 0,
        };
        Request::from_parts(parts, Body::new(reading))
    }
}

impl Kept {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        // A gRPC request has no trailers.
        let Some(bytes) = frame.data_ref() else {
            return;
        };
        self.length = self.length.saturating_add(bytes.len());
        if self.length <= LIMIT {
            self.read.push(bytes.clone());
        } else {
            self.let_go();
        }
    }

    fn let_go(&mut self) {
        self.is_whole = false;
        self.read = Vec::new();
    }
}

impl HttpBody for Reading {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let shared = Arc::clone(&self.body);
        let mut body = shared.lock();
        if body.reader != self.number {
            return Poll::Ready(Some(Err(Status::cancelled("the call is made elsewhere"))));
        }
        body.was_read = true;
        if let Some(bytes) = body.read.get(self.passed) {
            self.passed += 1;
            return Poll::Ready(Some(Ok(Frame::data(bytes.clone()))));
        }
        if body.ended {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut body.rest).poll_frame(cx));
        match &next {
            Some(Ok(frame)) => {
                body.keep(frame);
                self.passed = body.read.len();
            }
            Some(Err(_)) => body.let_go(),
            None => body.ended = true,
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        let mut body = self.body.lock();
        let rest = body.ended || body.rest.is_end_stream();
        let ends = self.passed >= body.read.len() && rest;
        if ends && body.reader == self.number {
            // Whoever knows that nothing follows need not ask for it.
            body.was_read = true;
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    fn outgoing(parts: impl IntoIterator<Item = Vec<u8>>) -> Outgoing {
        let frames: Vec<_> = parts
            .into_iter()
            .map(|part| Ok::<_, Status>(Frame::data(Bytes::from(part))))
            .collect();
        let body = Body::new(StreamBody::new(futures::stream::iter(frames)));
        Outgoing::of(Request::post("/a.B/C").body(body).unwrap())
    }

    fn deadline() -> Deadline {
        Deadline::after(Duration::from_secs(3))
    }

    async fn whole(body: Body) -> Result<Bytes, Status> {
        body.collect()
            .await
            .map(http_body_util::Collected::to_bytes)
    }

    #[tokio::test]
    async fn a_body_that_was_read_in_part_is_whole_the_next_time() {
        let mut outgoing = outgoing(["one ", "two ", "three"].map(Vec::from));
        let mut first = outgoing.next(deadline()).into_body();
        assert!(!outgoing.was_read());
        poll_fn(|cx| Pin::new(&mut first).poll_frame(cx)).await;
        assert!(outgoing.was_read());

        let second = outgoing.next(deadline());
        assert!(!outgoing.was_read() && second.headers().contains_key(GRPC_TIMEOUT));
        // The first one would take away what the second one needs.
        assert!(whole(first).await.is_err());
        assert_eq!(whole(second.into_body()).await.unwrap(), "one two three");
        let third = outgoing.next(deadline()).into_body();
        assert_eq!(whole(third).await.unwrap(), "one two three");
    }

    #[tokio::test]
    async fn a_large_body_is_sent_once() {
        let mut outgoing = outgoing([vec![7; LIMIT], Vec::from("x")]);
        let mut body = outgoing.next(deadline()).into_body();
        poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
        assert!(outgoing.can_repeat());
        assert_eq!(whole(body).await.unwrap(), "x");
        assert!(!outgoing.can_repeat());
        assert!(outgoing.body.lock().read.is_empty(), "it is let go");
    }

    #[tokio::test]
    async fn an_end_that_is_known_beforehand_counts_as_read() {
        let body = Body::new(Full::new(Bytes::new()));
        let mut outgoing = Outgoing::of(Request::post("/a.B/C").body(body).unwrap());
        let body = outgoing.next(deadline()).into_body();
        assert!(body.is_end_stream() && outgoing.was_read());
    }
}
