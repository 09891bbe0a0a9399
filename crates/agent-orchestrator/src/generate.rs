//! The agent behind `llm.generate`.

mod input;

use std::time::Duration;

use async_trait::async_trait;
use serde::Serialize;
use sutazai_agent_kit::{
    About, Agent, Capability, Failure, Models, Payload, TaskContext, json_payload, models::Answer,
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::tasks::v1::EffectMode;

use input::Input;

/// Longest generation: the total deadline of the model fleet.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(600);
/// A model that failed once often works a moment later, on another node.
const ATTEMPTS: u32 = 5;

/// Asks a model of the fleet.
pub(crate) struct Generator {
    models: Models,
    slots: u16,
}

#[derive(Serialize)]
struct Output {
    text: String,
    model: String,
    node: String,
    /// `stop` or `length`.
    reason: String,
    usage: Usage,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u32,
    completion_tokens: u32,
    total_duration_ns: u64,
}

impl Generator {
    pub(crate) fn new(models: Models, slots: u16) -> Self {
        Self { models, slots }
    }
}

#[async_trait]
impl Agent for Generator {
    fn about(&self) -> About {
        About {
            name: ServiceName::AgentOrchestrator,
            version: env!("CARGO_PKG_VERSION"),
            description: "Answers prompts with a model of the fleet.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability {
            task_type: "llm.generate",
            description: "Generates text from a prompt or a list of messages.",
            effect_mode: EffectMode::Idempotent,
            max_attempts: ATTEMPTS,
            attempt_timeout: ATTEMPT_LIMIT,
        }]
    }

    fn slots(&self) -> u16 {
        self.slots
    }

    async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
        let input: Input = task.input_json()?;
        let answer = self.models.stream(&task, input.into_request()?).await?;
        json_payload(&Output::from(answer))
    }
}

impl From<Answer> for Output {
    fn from(answer: Answer) -> Self {
        Self {
            text: answer.text,
            model: answer.model,
            node: answer.node,
            reason: answer.reason,
            usage: Usage {
                prompt_tokens: answer.usage.prompt_tokens,
                completion_tokens: answer.usage.completion_tokens,
                total_duration_ns: answer.usage.total_duration_ns,
            },
        }
    }
}
