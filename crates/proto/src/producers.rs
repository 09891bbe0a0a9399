//! What producers of any language send to the platform over AMQP, and what they are answered:
//! CloudEvents 1.0 in structured mode, as JSON.

use std::collections::BTreeMap;

use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

/// Media type of a CloudEvent in structured mode.
pub const CONTENT_TYPE: &str = "application/cloudevents+json";
/// The only version of CloudEvents.
pub const SPEC_VERSION: &str = "1.0";
/// Media type of the data of every event here.
const JSON: &str = "application/json";

/// The data of an event, with the event's name and version.
pub trait EventData {
    /// CloudEvents attribute `type`, for example `sutazai.task.submit.v1`.
    const NAME: &'static str;
}

/// A CloudEvent; attributes that are not listed are allowed and have no meaning here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct CloudEvent<D> {
    /// Version of CloudEvents.
    pub specversion: String,
    /// With `source` the identity of the event: who sends it again sends the same.
    #[schemars(length(min = 1, max = 255))]
    pub id: String,
    /// Who sends it, a URI reference.
    #[schemars(length(min = 1, max = 255))]
    pub source: String,
    /// Name and version of the event.
    #[serde(rename = "type")]
    pub kind: String,
    /// Id of the task that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// When it happened, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Media type of `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// W3C trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What vendors add to the trace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracestate: Option<String>,
    /// The content.
    pub data: D,
}

/// Submits a task; the same members as in `POST /api/v1/tasks`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// Task type, for example `llm.generate`.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 100))]
    pub kind: String,
    /// What the type's worker reads; any JSON of at most 64 KiB, handed on byte for byte.
    #[schemars(with = "Value")]
    pub input: Box<RawValue>,
    /// 0 (background) to 9 (first); 5 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9))]
    pub priority: Option<u32>,
    /// Attempts before the task is parked; the type's own number by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub max_attempts: Option<u32>,
    /// Seconds after which the task expires unless finished; never by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_622_400))]
    pub expires_in_seconds: Option<u32>,
}

/// Names the submission that an answer is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Origin {
    /// `source` of the submission.
    pub source: String,
    /// `id` of the submission.
    pub id: String,
}

/// The task is stored; it runs as soon as a worker has a free slot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Accepted {
    /// The submission.
    pub origin: Origin,
    /// UUID of the task.
    pub task_id: String,
    /// An earlier submission with the same `source` and `id` made it.
    pub replayed: bool,
}

/// No task was made.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Rejected {
    /// The submission, as far as it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
    /// Name of the closed error code, for example `INVALID_ARGUMENT`.
    pub code: String,
    /// Stable snake_case name of what is wrong, for example `unknown_task_type`.
    pub reason: String,
    /// What is wrong this time, for people.
    pub detail: String,
    /// Which parts of the message are wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Fault>,
    /// Further facts by snake_case name, for example `near_names`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// One fault in a submission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fault {
    /// JSON Pointer (RFC 6901) into the message, or the name of a property.
    pub pointer: String,
    /// What is wrong and what is expected.
    pub detail: String,
}

/// The task has ended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// The submission.
    pub origin: Origin,
    /// UUID of the task.
    pub task_id: String,
    /// How it ended.
    pub state: End,
    /// Attempts begun.
    pub attempts: u32,
    /// What the worker answered, once the task succeeded: JSON as it is, anything else as
    /// `{"content_type", "base64"}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Value>")]
    pub result: Option<Box<RawValue>>,
    /// Why there is no result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<Failure>,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// With a result.
    Succeeded,
    /// With an error, or parked after its last attempt.
    Failed,
    /// Because somebody asked for that.
    Cancelled,
    /// The worker was lost, and whether it had an effect is unknown.
    Interrupted,
    /// Its time passed.
    Expired,
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Failure {
    /// Stable snake_case name, for example `model_not_found`.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Name of the closed error code, for example `UNAVAILABLE`.
    pub code: String,
}

impl EventData for Submit {
    const NAME: &'static str = "sutazai.task.submit.v1";
}

impl EventData for Accepted {
    const NAME: &'static str = "sutazai.task.accepted.v1";
}

impl EventData for Rejected {
    const NAME: &'static str = "sutazai.task.rejected.v1";
}

impl EventData for Finished {
    const NAME: &'static str = "sutazai.task.finished.v1";
}

impl<D: EventData> CloudEvent<D> {
    /// Makes the event of its data.
    pub fn new(source: &str, id: String, data: D) -> Self {
        Self {
            specversion: SPEC_VERSION.to_owned(),
            id,
            source: source.to_owned(),
            kind: D::NAME.to_owned(),
            subject: None,
            time: None,
            datacontenttype: Some(JSON.to_owned()),
            traceparent: None,
            tracestate: None,
            data,
        }
    }
}

/// Returns the JSON Schema of every event, by the path of its file.
pub fn schemas() -> [(&'static str, String); 4] {
    [
        (
            "proto/events/sutazai.task.submit.v1.schema.json",
            schema::<Submit>("A task to submit"),
        ),
        (
            "proto/events/sutazai.task.accepted.v1.schema.json",
            schema::<Accepted>("The task is stored"),
        ),
        (
            "proto/events/sutazai.task.rejected.v1.schema.json",
            schema::<Rejected>("No task was made"),
        ),
        (
            "proto/events/sutazai.task.finished.v1.schema.json",
            schema::<Finished>("The task has ended"),
        ),
    ]
}

fn schema<D: EventData + JsonSchema>(title: &str) -> String {
    let mut schema = schema_for!(CloudEvent<D>).to_value();
    schema["title"] = json!(title);
    schema["properties"]["type"]["const"] = json!(D::NAME);
    schema["properties"]["specversion"]["const"] = json!(SPEC_VERSION);
    format!("{schema:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schemas_are_named_after_their_events_and_hold_them() {
        let names = [Submit::NAME, Accepted::NAME, Rejected::NAME, Finished::NAME];
        for ((file, text), name) in schemas().into_iter().zip(names) {
            assert_eq!(file, format!("proto/events/{name}.schema.json"));
            let schema: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(schema["properties"]["type"]["const"], name);
            let required = schema["required"].as_array().unwrap();
            for attribute in ["specversion", "id", "source", "type", "data"] {
                assert!(required.contains(&json!(attribute)), "{name}: {attribute}");
            }
        }
    }

    #[test]
    fn an_input_survives_byte_for_byte() {
        let text =
            r#"{"type":"llm.generate","input":{ "n":1.0E+2,"big":123456789012345678901234567890}}"#;
        let submit: Submit = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&submit).unwrap(), text);
    }
}
