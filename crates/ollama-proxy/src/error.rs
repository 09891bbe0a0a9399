//! Why a request to the fleet fails.

use std::time::Duration;

use http::StatusCode;
use sutazai_mesh::http::NodeFailure;
use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// A request that brought no answer, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No node lists the model.
    #[error("model `{model}` is on no node of the fleet{}; `ollama pull {model}` gets it", near_text(.near))]
    ModelNotFound {
        /// The name asked for.
        model: String,
        /// Listed names that may have been meant.
        near: Vec<String>,
    },
    /// The request named no model and the fleet has none.
    #[error("the fleet has no model; `ollama pull {suggestion}` gets one")]
    NoModel {
        /// Name for the pull command.
        suggestion: String,
    },
    /// No node that could serve the request takes requests now.
    #[error("no node that could serve this answers{}", .last.as_ref().map(|last| format!(" ({last})")).unwrap_or_default())]
    NoNode {
        /// When a node may be tried again.
        retry_after: Duration,
        /// Newest failure of such a node.
        last: Option<String>,
    },
    /// A node failed the request.
    #[error("node {node} {fault}")]
    Node {
        /// Name of the node.
        node: String,
        /// What it did.
        fault: Fault,
    },
    /// A node understood the request and refused it.
    #[error("node {node} refused the request: {message}")]
    Refused {
        /// Name of the node.
        node: String,
        /// Its status, 4xx.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// The caller's own deadline passed.
    #[error("the deadline of the request is over")]
    Deadline,
    /// Too many requests wait already.
    #[error("{waiting} requests wait for a slot already")]
    QueueFull {
        /// How many wait.
        waiting: usize,
        /// When a slot may be free.
        retry_after: Duration,
    },
    /// No slot became free in time.
    #[error("no slot became free within {} s", .waited.as_secs_f32())]
    QueueWait {
        /// How long the request waited.
        waited: Duration,
        /// When a slot may be free.
        retry_after: Duration,
    },
    /// A field of the request is wrong.
    #[error("{field}: {description}")]
    Invalid {
        /// JSON Pointer into the request.
        field: String,
        /// What is wrong and what is expected.
        description: String,
    },
    /// The request asks for something that Ollama would silently ignore.
    #[error("`{field}` is not supported")]
    Unsupported {
        /// Name of the parameter.
        field: &'static str,
    },
    /// The body is no JSON object of the expected shape.
    #[error("the body can not be read")]
    Json(#[from] serde_json::Error),
    /// The body is too large.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// Largest body, in bytes.
        limit: usize,
    },
    /// The body broke off.
    #[error("the body of the request broke off")]
    Body,
}

/// What a node did wrong.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It took no connection.
    #[error("can not be reached: {}", sutazai_proto::status::chain(.0))]
    Unreachable(NodeFailure),
    /// It broke the connection, or ended the answer before its end.
    #[error("broke off its answer{}", .0.as_ref().map(|e| format!(": {}", sutazai_proto::status::chain(e))).unwrap_or_default())]
    BrokenOff(Option<NodeFailure>),
    /// It answered with a server error.
    #[error("failed with status {status}: {message}")]
    Status {
        /// Its status, 5xx.
        status: StatusCode,
        /// Its words.
        message: String,
    },
    /// It reported an error in the middle of its answer.
    #[error("reported: {0}")]
    Reported(String),
    /// It sent what is no answer of Ollama.
    #[error("sent what is no answer: {0}")]
    Nonsense(String),
    /// It answered without a token and without a normal stop.
    #[error("answered without a word")]
    Empty,
    /// It sent nothing before the limit for the first token.
    #[error("sent no token within {} s", .0.as_secs_f32())]
    FirstToken(Duration),
    /// It fell silent in the middle of its answer.
    #[error("was silent for {} s", .0.as_secs_f32())]
    Silence(Duration),
    /// Its answer took longer than is allowed in all.
    #[error("took longer than {} s", .0.as_secs_f32())]
    Total(Duration),
}

impl Fault {
    /// Tells whether another node should be asked, as long as nothing reached the caller.
    ///
    /// When a time limit is over, the time of the caller is spent too.
    pub(crate) fn is_worth_another_node(&self) -> bool {
        !matches!(
            self,
            Self::FirstToken(_) | Self::Silence(_) | Self::Total(_)
        )
    }
}

impl Coded for Error {
    fn code(&self) -> ErrorCode {
        match self {
            Self::ModelNotFound { .. } => ErrorCode::NotFound,
            Self::NoModel { .. } | Self::NoNode { .. } | Self::QueueWait { .. } => {
                ErrorCode::Unavailable
            }
            Self::Node { fault, .. } => match fault {
                Fault::Unreachable(_) => ErrorCode::Unavailable,
                Fault::FirstToken(_) | Fault::Silence(_) | Fault::Total(_) => {
                    ErrorCode::DeadlineExceeded
                }
                _ => ErrorCode::BadUpstream,
            },
            Self::Deadline => ErrorCode::DeadlineExceeded,
            Self::QueueFull { .. } => ErrorCode::Exhausted,
            Self::Refused { .. }
            | Self::Invalid { .. }
            | Self::Unsupported { .. }
            | Self::Json(_)
            | Self::Body => ErrorCode::InvalidArgument,
            Self::TooLarge { .. } => ErrorCode::TooLarge,
        }
    }

    fn reason(&self) -> &str {
        match self {
            Self::ModelNotFound { .. } => "model_not_found",
            Self::NoModel { .. } => "no_model",
            Self::NoNode { .. } => "node_unreachable",
            Self::Node { fault, .. } => match fault {
                Fault::Unreachable(_) => "node_unreachable",
                Fault::Empty => "empty_answer",
                Fault::FirstToken(_) => "first_token_timeout",
                Fault::Silence(_) => "silence_timeout",
                Fault::Total(_) => "total_timeout",
                Fault::BrokenOff(_)
                | Fault::Status { .. }
                | Fault::Reported(_)
                | Fault::Nonsense(_) => "node_failed",
            },
            Self::Deadline => "deadline_exceeded",
            Self::QueueFull { .. } => "queue_full",
            Self::QueueWait { .. } => "queue_timeout",
            Self::Refused { .. } | Self::Invalid { .. } => "validation_failed",
            Self::Unsupported { .. } => "unsupported_parameter",
            Self::Json(_) => "invalid_json",
            Self::TooLarge { .. } => "body_too_large",
            Self::Body => "body_incomplete",
        }
    }

    fn details(&self) -> Details {
        let mut details = Details::default();
        match self {
            Self::ModelNotFound { model, near } => {
                details.metadata.insert("model".to_owned(), model.clone());
                details
                    .metadata
                    .insert("near_names".to_owned(), near.join(", "));
            }
            Self::NoModel { suggestion } => {
                let command = format!("ollama pull {suggestion}");
                details.metadata.insert("pull_command".to_owned(), command);
            }
            Self::NoNode { retry_after, .. }
            | Self::QueueFull { retry_after, .. }
            | Self::QueueWait { retry_after, .. } => details.retry_after = Some(*retry_after),
            Self::Invalid { field, description } => details.violations.push(Violation {
                field: field.clone(),
                description: description.clone(),
            }),
            Self::Unsupported { field } => details.violations.push(Violation {
                field: format!("/{field}"),
                description: "Ollama does not support it".to_owned(),
            }),
            Self::Node { node, .. } | Self::Refused { node, .. } => {
                details.metadata.insert("node".to_owned(), node.clone());
            }
            Self::Deadline | Self::Json(_) | Self::TooLarge { .. } | Self::Body => {}
        }
        details
    }
}

impl From<Error> for tonic::Status {
    fn from(error: Error) -> Self {
        sutazai_proto::to_status(&error)
    }
}

fn near_text(near: &[String]) -> String {
    if near.is_empty() {
        String::new()
    } else {
        format!(" (near: {})", near.join(", "))
    }
}
