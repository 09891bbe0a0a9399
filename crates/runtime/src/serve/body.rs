//! A response body that can be ended from outside.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tonic::Status;

/// What a last frame gets to leave the process: a body that fails drops what the connection still
/// buffers.
const FLUSH: Duration = Duration::from_millis(50);

/// How a body ends before its time.
#[derive(Debug)]
pub(crate) enum End {
    /// The connection breaks, which tells a client of HTTP that the answer is not whole.
    Broken(&'static str),
    /// The same, after one more frame.
    Said(Bytes, &'static str),
    /// gRPC trailers with this status.
    Trailers(Status),
}

pin_project! {
    /// Passes frames through as they come until `end` resolves; holds `guard` as long as it lives.
    pub(crate) struct Until<F, G> {
        #[pin]
        inner: Body,
        #[pin]
        end: F,
        guard: G,
        ended: bool,
        // The last frame is under way; then the connection breaks, for this reason.
        parting: Option<(Pin<Box<Sleep>>, &'static str)>,
    }
}

impl<F, G> Until<F, G> {
    pub(crate) fn new(inner: Body, end: F, guard: G) -> Self {
        Self {
            inner,
            end,
            guard,
            ended: false,
            parting: None,
        }
    }
}

impl<F: Future<Output = End>, G> http_body::Body for Until<F, G> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.project();
        if *this.ended {
            return Poll::Ready(None);
        }
        if let Some((flushed, why)) = this.parting {
            ready!(flushed.as_mut().poll(cx));
            *this.ended = true;
            return Poll::Ready(Some(Err(broken(why))));
        }
        if let Poll::Ready(end) = this.end.poll(cx) {
            *this.ended = !matches!(end, End::Said(..));
            return Poll::Ready(match end {
                End::Broken(why) => Some(Err(broken(why))),
                End::Said(frame, why) => {
                    *this.parting = Some((Box::pin(sleep(FLUSH)), why));
                    Some(Ok(Frame::data(frame)))
                }
                // A status always fits into headers; were it otherwise, the stream ends without.
                End::Trailers(status) => {
                    let mut trailers = http::HeaderMap::new();
                    match status.add_header(&mut trailers) {
                        Ok(()) => Some(Ok(Frame::trailers(trailers))),
                        Err(error) => Some(Err(axum::Error::new(error))),
                    }
                }
            });
        }
        let frame = ready!(this.inner.poll_frame(cx));
        *this.ended = frame.is_none();
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

fn broken(why: &'static str) -> axum::Error {
    axum::Error::new(io::Error::other(why))
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;
    use http_body_util::BodyExt;
    use tokio_util::sync::CancellationToken;

    use super::*;

    fn endless() -> Body {
        Body::from_stream(futures::stream::pending::<Result<Bytes, io::Error>>())
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_status_of_its_end() {
        let token = CancellationToken::new();
        let cut = token.clone();
        let end = Box::pin(async move {
            cut.cancelled().await;
            End::Trailers(Status::unavailable("shutting down"))
        });
        let mut body = Until::new(endless(), end, ());
        token.cancel();
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.trailers_ref().unwrap()["grpc-status"], "14");
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn an_answer_over_http_breaks_off() {
        let end = std::future::ready(End::Broken("shutting down"));
        let mut body = Until::new(endless(), end, ());
        assert!(body.frame().await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_stream_says_its_last_words_before_it_breaks_off() {
        let words = Bytes::from_static(b"event: error\n\n");
        let end = Box::pin(std::future::ready(End::Said(
            words.clone(),
            "shutting down",
        )));
        let mut body = Until::new(endless(), end, ());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), words);
        assert!(body.frame().await.unwrap().is_err());
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn a_known_length_stays_known() {
        let body = Until::new(Body::from("abc"), Box::pin(std::future::pending()), ());
        assert_eq!(body.size_hint().exact(), Some(3));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");
    }
}
