//! A request's body: how long it may be silent, and what nobody read of it.
//!
//! An answer may come before the end of the body, for example because the body is too large. On
//! HTTP/1.1 the rest stands between this request and the next one, and closing a connection with
//! unread bytes resets it, which may cost the client the answer. So the rest is thrown away for a
//! moment; where there is more of it, the answer says that the connection ends.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Version, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep, timeout},
};

/// Longest wait of an answer for the rest.
const PATIENCE: Duration = Duration::from_millis(250);
/// Most bytes of the rest that are thrown away.
const MOST: usize = 4 * 1024 * 1024;

/// The rest of one request's body, once whoever was to read it gave it up.
pub(super) struct Leftover {
    rest: Option<oneshot::Receiver<Incoming>>,
    /// Whether the connection goes on with the next request behind this body.
    in_line: bool,
    /// Whether the client waits for our word before it sends; reading would be that word.
    waits: bool,
}

impl Leftover {
    /// Takes a request in hand; its body fails after such a silence.
    pub(super) fn watch(
        request: Request<Incoming>,
        silence: Option<Duration>,
    ) -> (Request<Body>, Self) {
        let mut leftover = Self {
            rest: None,
            in_line: request.version() < Version::HTTP_2,
            waits: request.headers().contains_key(header::EXPECT),
        };
        if request.body().is_end_stream() {
            return (request.map(|_| Body::empty()), leftover);
        }
        let (give_back, rest) = oneshot::channel();
        leftover.rest = Some(rest);
        let watched = |body| {
            Body::new(Watched {
                body: Some(body),
                give_back: Some(give_back),
                silence,
                alarm: None,
            })
        };
        (request.map(watched), leftover)
    }

    /// Throws the rest away, or says in the head of the answer that the connection ends.
    pub(super) async fn settle(self, answer: &mut HeaderMap) {
        let rest = self.rest.and_then(|mut rest| rest.try_recv().ok());
        let Some(rest) = rest.filter(|_| self.in_line) else {
            return;
        };
        let gone = !self.waits && timeout(PATIENCE, throw_away(rest)).await.unwrap_or(false);
        if !gone {
            answer.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

/// Reads up to the end; tells whether it was reached.
async fn throw_away(mut body: Incoming) -> bool {
    let mut left = MOST;
    while let Some(frame) = body.frame().await {
        let size = frame.map(|frame| frame.data_ref().map_or(0, Bytes::len));
        match size.ok().and_then(|size| left.checked_sub(size)) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// A body that is given back when its reader drops it early.
struct Watched {
    body: Option<Incoming>,
    give_back: Option<oneshot::Sender<Incoming>>,
    /// Longest wait for the next frame, if there is a bound.
    silence: Option<Duration>,
    /// Runs only while a reader waits: a body that is there with its head needs none.
    alarm: Option<Pin<Box<Sleep>>>,
}

/// Why a body failed that was not cut off.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error("nothing came within {} s", .0.as_secs())]
    Silent(Duration),
    /// Its cause stays to be found: tonic makes a status of it.
    #[error("the connection broke off")]
    Incoming(#[from] hyper::Error),
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) {
            this.alarm = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Broken::from)));
        }
        let Some(silence) = this.silence else {
            return Poll::Pending;
        };
        let alarm = this.alarm.get_or_insert_with(|| Box::pin(sleep(silence)));
        ready!(alarm.as_mut().poll(cx));
        Poll::Ready(Some(Err(Broken::Silent(silence))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let hint = self.body.as_ref().map(Incoming::size_hint);
        hint.unwrap_or_else(|| SizeHint::with_exact(0))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        if let (Some(rest), Some(give_back)) = (rest, self.give_back.take()) {
            // Nobody waits when the answer came first: hyper then ends the connection.
            let _ = give_back.send(rest);
        }
    }
}
