//! The JSON body of a request: every fault has its own answer.

use std::{fmt, marker::PhantomData, time::Duration};

use axum::{
    body::Bytes,
    extract::{FromRequest, Request},
};
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use super::InputError;
use crate::http::problem::Failure;

/// Limit of families that name no other, in bytes.
pub(crate) const DEFAULT_LIMIT: usize = 1024 * 1024;
/// Deepest nesting that is read.
const MAX_DEPTH: usize = 32;
/// Time that a whole body may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(30);

/// A body of at most `LIMIT` bytes.
#[derive(Debug)]
pub(crate) struct Json<T, const LIMIT: usize = DEFAULT_LIMIT>(pub(crate) T);

impl<S, T, const LIMIT: usize> FromRequest<S> for Json<T, LIMIT>
where
    S: Sync,
    T: DeserializeOwned,
{
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let body = read(request, LIMIT).await.map_err(refuse)?;
        Ok(Self(parse(&body).map_err(refuse)?))
    }
}

/// Two faults have a status that only HTTP knows.
fn refuse(error: InputError) -> Failure {
    let status = match error {
        InputError::MediaType => Some(StatusCode::UNSUPPORTED_MEDIA_TYPE),
        InputError::Slow { .. } => Some(StatusCode::REQUEST_TIMEOUT),
        _ => None,
    };
    let failure = Failure::from(error);
    match status {
        Some(status) => failure.with_status(status),
        None => failure,
    }
}

/// Reads the body, refusing what is too large as soon as that is known.
async fn read(request: Request, limit: usize) -> Result<Bytes, InputError> {
    if !is_json(request.headers()) {
        return Err(InputError::MediaType);
    }
    let too_large = InputError::TooLarge {
        what: "the body",
        limit,
    };
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large);
    }
    let body = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(ARRIVAL, body).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large),
        Ok(Err(_)) => Err(InputError::Cut),
        Err(_) => Err(InputError::Slow {
            seconds: ARRIVAL.as_secs(),
        }),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let essence = value
        .to_str()
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default();
    essence.trim().eq_ignore_ascii_case("application/json")
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Reads an object out of a whole body.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, InputError> {
    let text = std::str::from_utf8(body).map_err(|error| InputError::Utf8 {
        at: error.valid_up_to(),
    })?;
    if depth(text) > MAX_DEPTH {
        return Err(InputError::invalid(
            "",
            format!("nested deeper than {MAX_DEPTH} levels"),
        ));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let Object(value) = read.map_err(|error| {
        let pointer = pointer(error.path());
        fault(pointer, error.inner())
    })?;
    deserializer
        .end()
        .map_err(|error| InputError::Syntax(error.to_string()))?;
    Ok(value)
}

/// Reads an object that is a part of a body.
pub(crate) fn object<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// A value out of an object. What serde derives for a struct would take a list of its members too,
/// which no schema of ours allows.
struct Object<T>(T);

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

fn fault(pointer: String, error: &serde_json::Error) -> InputError {
    match error.classify() {
        Category::Data => {
            let detail = error.to_string();
            // serde gives the message as text only; its own tests keep the wording.
            if detail.starts_with("unknown field") {
                InputError::UnknownField { pointer, detail }
            } else {
                InputError::Invalid { pointer, detail }
            }
        }
        Category::Syntax | Category::Eof | Category::Io => InputError::Syntax(error.to_string()),
    }
}

/// Renders a path as a JSON Pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => out.extend(["/", &index.to_string()]),
            Segment::Map { key } => {
                out.extend(["/", &key.replace('~', "~0").replace('/', "~1")]);
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    out
}

/// Returns the deepest nesting of arrays and objects, without judging the syntax.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests;
