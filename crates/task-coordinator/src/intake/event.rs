//! Reads a submission out of a message: CloudEvents 1.0 in structured mode, as JSON.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use ring::digest::{Context, SHA256};
use serde::de::DeserializeOwned;
use serde_json::{error::Category, value::RawValue};
use serde_path_to_error::{Path, Segment};
use sutazai_messaging::Delivery;
use sutazai_proto::producers::{CONTENT_TYPE, CloudEvent, EventData, Origin, SPEC_VERSION, Submit};
use sutazai_proto::tasks::v1::{CreateTaskRequest, Payload};
use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// Most bytes of a message: an input and what stands around it, with room.
const LARGEST: usize = 128 * 1024;
/// Most bytes of `source` and of `id`.
const NAME_LENGTH: usize = 255;
const JSON: &str = "application/json";

/// A submission that could be read.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) origin: Origin,
    /// Its idempotency key stands for `source` and `id`.
    pub(super) request: CreateTaskRequest,
    /// W3C trace headers of the event; none when it has none.
    pub(super) trace: BTreeMap<String, String>,
}

/// A message that is no submission, with what could be read of it.
#[derive(Debug)]
pub(super) struct Unreadable {
    pub(super) origin: Option<Origin>,
    pub(super) broken: Broken,
}

/// Why a message can not be read. It never gets better by trying again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Broken {
    #[error("the message has {0} bytes, at most {LARGEST} are read")]
    TooLarge(usize),
    #[error("the content type `{0}` is not {CONTENT_TYPE}")]
    ContentType(String),
    #[error("the body is not JSON: {0}")]
    Syntax(String),
    #[error("CloudEvents {0} is not known, only {SPEC_VERSION}")]
    SpecVersion(String),
    #[error("the event `{0}` is not known, only {known}", known = Submit::NAME)]
    Type(String),
    #[error("the event is not valid at `{pointer}`: {detail}")]
    Invalid { pointer: String, detail: String },
    #[error("the name of the broker's user can not be a subject")]
    Producer,
}

/// Reads a delivery.
pub(super) fn read(delivery: &Delivery) -> Result<Received, Unreadable> {
    let event = envelope(delivery).map_err(|broken| Unreadable {
        origin: None,
        broken,
    })?;
    let origin = Origin {
        source: event.source,
        id: event.id,
    };
    let unreadable = |broken| Unreadable {
        origin: Some(origin.clone()),
        broken,
    };
    if event.specversion != SPEC_VERSION {
        return Err(unreadable(Broken::SpecVersion(event.specversion)));
    }
    if event.kind != Submit::NAME {
        return Err(unreadable(Broken::Type(event.kind)));
    }
    let submit = parse(event.data.get().as_bytes(), "/data").map_err(unreadable)?;
    let trace = [
        ("traceparent", event.traceparent),
        ("tracestate", event.tracestate),
    ];
    let trace = trace
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Received {
        request: request(submit, &origin),
        trace: trace.collect(),
        origin,
    })
}

/// Says where a fault of the request for a task stands in the event.
pub(super) fn place(field: &str) -> String {
    match field {
        "/expires_in" => "/data/expires_in_seconds".to_owned(),
        pointer if pointer.starts_with('/') => format!("/data{pointer}"),
        other => other.to_owned(),
    }
}

fn envelope(delivery: &Delivery) -> Result<CloudEvent<Box<RawValue>>, Broken> {
    if delivery.body.len() > LARGEST {
        return Err(Broken::TooLarge(delivery.body.len()));
    }
    let essence = delivery.content_type.split(';').next().unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case(CONTENT_TYPE) {
        let shown = delivery.content_type.chars().take(NAME_LENGTH).collect();
        return Err(Broken::ContentType(shown));
    }
    let event: CloudEvent<Box<RawValue>> = parse(&delivery.body, "")?;
    for (pointer, text) in [("/id", &event.id), ("/source", &event.source)] {
        let fits = (1..=NAME_LENGTH).contains(&text.len()) && !text.contains('\0');
        if !fits {
            return Err(Broken::Invalid {
                pointer: pointer.to_owned(),
                detail: format!("must have 1 to {NAME_LENGTH} bytes, none of them zero"),
            });
        }
    }
    Ok(event)
}

fn parse<T: DeserializeOwned>(json: &[u8], at: &str) -> Result<T, Broken> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    let read = serde_path_to_error::deserialize(&mut deserializer);
    let value = read.map_err(|error| match error.inner().classify() {
        Category::Data => Broken::Invalid {
            pointer: format!("{at}{}", pointer(error.path())),
            detail: error.inner().to_string(),
        },
        Category::Syntax | Category::Eof | Category::Io => {
            Broken::Syntax(error.inner().to_string())
        }
    })?;
    let end = deserializer.end();
    end.map_err(|error| Broken::Syntax(error.to_string()))?;
    Ok(value)
}

/// Renders a path as a JSON Pointer (RFC 6901).
fn pointer(path: &Path) -> String {
    let segments = path.iter().filter_map(|segment| match segment {
        Segment::Seq { index } => Some(format!("/{index}")),
        Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
        Segment::Enum { .. } | Segment::Unknown => None,
    });
    segments.collect()
}

fn request(submit: Submit, origin: &Origin) -> CreateTaskRequest {
    let seconds = submit.expires_in_seconds;
    CreateTaskRequest {
        r#type: submit.kind,
        input: Some(Payload {
            data: Bytes::copy_from_slice(submit.input.get().as_bytes()),
            content_type: JSON.to_owned(),
        }),
        priority: submit.priority,
        max_attempts: submit.max_attempts,
        expires_in: seconds.map(|seconds| prost_types::Duration {
            seconds: seconds.into(),
            nanos: 0,
        }),
        idempotency_key: key(origin),
    }
}

/// Makes one key of `source` and `id`; their lengths keep other pairs apart.
fn key(Origin { source, id }: &Origin) -> String {
    let mut digest = Context::new(&SHA256);
    for part in [source, id] {
        digest.update(&(part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    URL_SAFE_NO_PAD.encode(digest.finish())
}

impl Coded for Broken {
    fn code(&self) -> ErrorCode {
        match self {
            Self::TooLarge(_) => ErrorCode::TooLarge,
            _ => ErrorCode::InvalidArgument,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::TooLarge(_) => "body_too_large",
            Self::ContentType(_) => "unsupported_media_type",
            Self::Syntax(_) => "invalid_json",
            Self::SpecVersion(_) => "unknown_spec_version",
            Self::Type(_) => "unknown_event",
            Self::Invalid { .. } => "validation_failed",
            Self::Producer => "unusable_producer",
        }
    }

    fn details(&self) -> Details {
        let field = match self {
            Self::TooLarge(_) | Self::Syntax(_) => "",
            Self::ContentType(_) => "content_type",
            Self::SpecVersion(_) => "/specversion",
            Self::Type(_) => "/type",
            Self::Invalid { pointer, .. } => pointer,
            Self::Producer => "user_id",
        };
        let description = match self {
            Self::Invalid { detail, .. } => detail.clone(),
            other => other.to_string(),
        };
        let violation = Violation {
            field: field.to_owned(),
            description,
        };
        Details {
            violations: vec![violation],
            ..Details::default()
        }
    }
}

#[cfg(test)]
mod tests;
