//! Passes one request to a node and its answer back, piece by piece as it arrives.

use std::error::Error as _;

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    response::Response,
};
use bytes::Bytes;
use futures::{Stream, stream};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body_util::LengthLimitError;
use sutazai_runtime::parting::LastWords;

use super::{
    Door, Inside,
    asked::Asked,
    dialect::{Dialect, Framing},
    framer::Framer,
};
use crate::{
    error::{Error, Fault},
    fleet::{Call, Opens, Reply},
    ollama::DEMO_HEADER,
};

/// Tells nginx and what derives from it not to collect the answer.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// One path that is passed through.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passage {
    pub(super) dialect: Dialect,
    pub(super) path: &'static str,
    /// Whether the path can answer in pieces.
    pub(super) streams: bool,
}

/// Sends a request on and answers with what the node answers.
pub(super) async fn forward(door: Door, passage: Passage, request: Request) -> Response {
    match exchange(&door.0, passage, request).await {
        Ok(response) => response,
        Err(error) => passage.dialect.refuse(&error),
    }
}

async fn exchange(
    Inside { fleet, body_limit }: &Inside,
    passage: Passage,
    request: Request,
) -> Result<Response, Error> {
    let Passage {
        dialect,
        path,
        streams,
    } = passage;
    let body = read(request, *body_limit).await?;
    let asked = Asked::read(&body, dialect, streams)?;
    let call = Call {
        path,
        model: fleet.resolve(&asked.model).await?,
        content_type: HeaderValue::from_static("application/json"),
        body,
        opens: if asked.stream {
            Opens::WithFirstToken
        } else {
            Opens::WithWhole
        },
        deadline: None,
    };
    let answer = fleet.open(&call, |reply| begin(reply, dialect)).await?;
    Ok(answer.into_response())
}

/// Reads the request's body, which another node may need too. Its head goes here, and with it the hold
/// on the buffer that it was read into.
async fn read(request: Request, limit: usize) -> Result<Bytes, Error> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced
        .and_then(|length| length.parse::<u64>().ok())
        .is_some_and(|length| length > limit as u64)
    {
        return Err(Error::TooLarge { limit });
    }
    to_bytes(request.into_body(), limit).await.map_err(|error| {
        let too_large = error
            .source()
            .is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
        if too_large {
            Error::TooLarge { limit }
        } else {
            Error::Body
        }
    })
}

/// An answer that has begun.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    passing: Passing,
}

/// What is left of an answer.
struct Passing {
    dialect: Dialect,
    framer: Framer,
    /// What the opening read already.
    first: Option<Bytes>,
    stage: Stage,
}

enum Stage {
    /// The node speaks.
    Open(Box<Reply>),
    /// The node failed and the caller has been told; the connection is cut next.
    Broken(Error),
    /// Nothing more comes.
    Ended,
}

/// Reads until there is something to pass on.
#[expect(
    clippy::manual_async_fn,
    reason = "an async function would hold the reply twice for as long as it waits"
)]
fn begin(mut reply: Reply, dialect: Dialect) -> impl Future<Output = Result<Answer, Error>> + Send {
    async move {
        let (status, headers) = (reply.status, passed_headers(&reply.headers));
        let framing = if status.is_success() {
            framing(&headers)
        } else {
            Framing::Whole
        };
        let mut framer = Framer::new(framing);
        let first = loop {
            match reply.next().await? {
                Some(bytes) => {
                    if let Some(first) = framer.push(bytes) {
                        break Some(first);
                    }
                }
                None => break framer.rest(),
            }
        };
        if first.is_none() && status.is_success() {
            return Err(reply.fault(Fault::Empty));
        }
        // Dropped here: they share the buffer that they were read into, 8 KiB for each stream.
        let announced = std::mem::take(&mut reply.headers);
        let stage = if framing == Framing::Whole && is_all(first.as_ref(), &announced) {
            // The node has no more to say; read to its end, its connection serves the next request.
            reply.finish_now();
            Stage::Ended
        } else {
            Stage::Open(Box::new(reply))
        };
        let passing = Passing {
            dialect,
            framer,
            first,
            stage,
        };
        Ok(Answer {
            status,
            headers,
            passing,
        })
    }
}

/// Tells whether an answer has come in one piece.
fn is_all(piece: Option<&Bytes>, headers: &HeaderMap) -> bool {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    announced.is_some_and(|length: usize| length == piece.map_or(0, Bytes::len))
}

fn passed_headers(from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in [header::CONTENT_TYPE, HeaderName::from_static(DEMO_HEADER)] {
        if let Some(value) = from.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    headers
}

fn framing(headers: &HeaderMap) -> Framing {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    match content_type.unwrap_or_default() {
        kind if kind.starts_with("application/x-ndjson") => Framing::Lines,
        kind if kind.starts_with("text/event-stream") => Framing::Events,
        _ => Framing::Whole,
    }
}

impl Answer {
    fn into_response(self) -> Response {
        let (body, last_words) = if matches!(self.passing.stage, Stage::Ended) {
            // With its length, for it is known: one write instead of chunks, and nothing to cut off.
            (self.passing.first.unwrap_or_default().into(), None)
        } else {
            let Passing {
                dialect, framer, ..
            } = &self.passing;
            let last_words = dialect.parting_words(framer.framing()).map(LastWords);
            (Body::from_stream(self.passing.pieces()), last_words)
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(words) = last_words {
            response.extensions_mut().insert(words);
        }
        response
    }
}

impl Passing {
    fn pieces(self) -> impl Stream<Item = Result<Bytes, Error>> + Send {
        stream::unfold(self, |mut passing| async move {
            let piece = passing.next().await?;
            Some((piece, passing))
        })
    }

    /// Returns the next piece. After a failure it is an error in the caller's dialect, and then
    /// an error that cuts the connection, so that nobody takes the answer for complete.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        if let Some(first) = self.first.take() {
            return Some(Ok(first));
        }
        while let Stage::Open(reply) = &mut self.stage {
            match reply.next().await {
                Ok(Some(bytes)) => {
                    if let Some(whole) = self.framer.push(bytes) {
                        return Some(Ok(whole));
                    }
                }
                Ok(None) => {
                    self.stage = Stage::Ended;
                    return self.framer.rest().map(Ok);
                }
                Err(error) => {
                    tracing::warn!(%error, "answer broke off");
                    let words = self.framer.break_off(self.dialect, &error);
                    self.stage = Stage::Broken(error);
                    if let Some(words) = words {
                        return Some(Ok(words));
                    }
                }
            }
        }
        match std::mem::replace(&mut self.stage, Stage::Ended) {
            Stage::Broken(error) => {
                // Lets the server write the last words before the error ends everything.
                tokio::task::yield_now().await;
                Some(Err(error))
            }
            _ => None,
        }
    }
}
