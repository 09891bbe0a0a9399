//! Server-sent events: as they happen, never collected, and cut when the source fails.

use std::{io, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures::{Stream, StreamExt, stream};
use http::{HeaderName, HeaderValue, header};
use serde::Serialize;
use sutazai_proto::Coded;
use sutazai_runtime::parting::{LastWords, shutting_down};
use tracing::Span;

use super::problem::{Failure, Occurrence};

/// Pause after which a comment shows that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What the `error` event gets to leave the process before the connection is cut.
const FLUSH: Duration = Duration::from_millis(50);
/// Tells proxies of the nginx family to pass each event on at once.
const NO_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Makes an event with a JSON body.
pub(crate) fn event(name: &str, data: &impl Serialize) -> Event {
    // JSON text has no line breaks, so an event is always one `data:` line. Our own types always
    // serialize; should one not, the client sees an event without data.
    Event::default()
        .event(name)
        .data(serde_json::to_string(data).unwrap_or_default())
}

/// Answers with events until the stream ends; a failure becomes an `error` event, after which the
/// connection ends abnormally, so that nobody takes the rest for the whole.
pub(crate) fn answer<E: Coded>(
    occurrence: Occurrence,
    events: impl Stream<Item = Result<Event, E>> + Send + 'static,
) -> Response {
    let last_words = last_words(&occurrence);
    let body = in_current_span(events.flat_map(move |item| match item {
        Ok(event) => stream::iter([Ok(event)]).left_stream(),
        Err(error) => {
            let mut problem = Failure::from(error).into_problem();
            occurrence.complete(&mut problem);
            stream::iter([Ok(event("error", &problem))])
                .chain(cut())
                .right_stream()
        }
    }));
    let mut response = Sse::new(body)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response();
    response.extensions_mut().insert(last_words);
    let headers = response.headers_mut();
    headers.insert(NO_BUFFERING, HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Makes the `error` event of a stream that the end of the process cuts off.
fn last_words(occurrence: &Occurrence) -> LastWords {
    let mut problem = shutting_down();
    occurrence.complete(&mut problem);
    let data = serde_json::to_string(&problem).unwrap_or_default();
    LastWords(format!("event: error\ndata: {data}\n\n").into())
}

/// Keeps the request's span around the work of its stream, which outlives the handler.
fn in_current_span<S: Stream>(stream: S) -> impl Stream<Item = S::Item> {
    let span = Span::current();
    let mut stream = Box::pin(stream);
    stream::poll_fn(move |context| span.in_scope(|| stream.as_mut().poll_next(context)))
}

/// Fails the body once the event before it had time to be sent: a failing body drops what the
/// connection still buffers.
fn cut() -> impl Stream<Item = Result<Event, io::Error>> {
    stream::once(async {
        tokio::time::sleep(FLUSH).await;
        Err(io::Error::other("the stream failed"))
    })
}

#[cfg(test)]
mod tests;
