//! Names and versions of the messages on the broker, and the headers they carry.

use crate::platform::v1::Echo;
use crate::tasks::v1::{TaskFinished, TaskProgress, TaskReleased};

/// CloudEvents 1.0 attribute `id`: unique per message, the key of de-duplication.
pub const HEADER_ID: &str = "ce-id";
/// CloudEvents 1.0 attribute `source`: the sending service.
pub const HEADER_SOURCE: &str = "ce-source";
/// CloudEvents 1.0 attribute `type`: [`EventType::NAME`].
pub const HEADER_TYPE: &str = "ce-type";
/// CloudEvents 1.0 attribute `specversion`, always `1.0`.
pub const HEADER_SPEC_VERSION: &str = "ce-specversion";
/// Id of the task the message is about.
pub const HEADER_TASK_ID: &str = "task-id";
/// Attempt the message is about, once a claim assigned it.
pub const HEADER_ATTEMPT: &str = "task-attempt";
/// Media type of protobuf bodies.
pub const CONTENT_TYPE: &str = "application/protobuf";

/// A protobuf message with a name and a version.
pub trait EventType: prost::Message + Default {
    /// Name with version, for example `task.released.v1`.
    const NAME: &'static str;
}

impl EventType for TaskReleased {
    const NAME: &'static str = "task.released.v1";
}

impl EventType for TaskFinished {
    const NAME: &'static str = "task.finished.v1";
}

impl TaskFinished {
    /// Returns the id of the message that ends an attempt: whatever says it again has the same, and counts once.
    pub fn message_id(task_id: &str, attempt: u32) -> String {
        format!("finished:{task_id}:{attempt}")
    }
}

impl EventType for TaskProgress {
    const NAME: &'static str = "task.progress.v1";
}

impl EventType for Echo {
    const NAME: &'static str = "platform.echo.v1";
}
