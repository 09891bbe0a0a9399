//! What an attempt gets to work with.

use serde::{Serialize, de::DeserializeOwned};
use sutazai_auth::principal::Principal;
use sutazai_proto::ErrorCode;
use sutazai_resilience::Deadline;
use tokio_util::sync::CancellationToken;

use crate::{Failure, Progress};

pub use sutazai_proto::tasks::v1::Payload;

/// Media type of JSON.
const JSON: &str = "application/json";

/// One attempt of a task, as its agent sees it.
#[derive(Clone, Debug)]
pub struct TaskContext {
    /// Id of the task.
    pub task_id: String,
    /// One of the agent's own task types.
    pub task_type: String,
    /// What the task was submitted with.
    pub input: Payload,
    /// On whose behalf the task runs; calls to other services carry it on.
    pub principal: Principal,
    /// When the attempt's time is over.
    pub deadline: Deadline,
    /// Fires when the attempt should stop; what is running then has a moment to end by itself.
    pub cancelled: CancellationToken,
    /// Where the agent reports how far it is.
    pub progress: Progress,
}

impl TaskContext {
    /// Reads the input as JSON.
    ///
    /// # Errors
    /// Fails, never to be retried, when it is not JSON of this shape.
    pub fn input_json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let content_type = self.input.content_type.as_str();
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.is_empty() && !essence.eq_ignore_ascii_case(JSON) {
            let message = format!("the input is `{content_type}`, expected {JSON}");
            return Err(Failure::invalid(message));
        }
        serde_json::from_slice(&self.input.data)
            .map_err(|error| Failure::invalid(format!("the input is not valid: {error}")))
    }
}

/// Writes a result as JSON.
///
/// # Errors
/// Fails when the value has no JSON form, for example a map whose keys are no strings.
pub fn json_payload(value: &impl Serialize) -> Result<Payload, Failure> {
    let data = serde_json::to_vec(value)
        .map_err(|error| Failure::new(ErrorCode::Internal, "internal", error.to_string()))?;
    Ok(Payload {
        data: data.into(),
        content_type: JSON.to_owned(),
    })
}
