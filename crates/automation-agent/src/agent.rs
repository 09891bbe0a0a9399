//! The agent: asks a model for a plan, judges it, and runs nothing.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sutazai_agent_kit::{
    About, Agent, Capability, Failure, Models, Payload, TaskContext, json_payload,
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::tasks::v1::EffectMode;

use crate::conversation::{Conversation, Reply};
use crate::plan::Plan;
use crate::policy::{Policy, Reason, Verdict};

/// Longest goal, in characters.
const GOAL: usize = 4000;
/// Most constraints.
const CONSTRAINTS: usize = 20;
/// Longest constraint, in characters.
const CONSTRAINT: usize = 500;

/// Makes plans.
pub(crate) struct Planner {
    models: Models,
    policy: Policy,
    slots: u16,
}

/// Input of `automation.plan`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// What should be done.
    pub(crate) goal: String,
    /// What has to be kept to.
    #[serde(default)]
    pub(crate) constraints: Vec<String>,
    /// Empty asks for the default model.
    #[serde(default)]
    pub(crate) model: String,
}

/// Result of `automation.plan`.
#[derive(Debug, Serialize)]
struct Judged {
    plan: Plan,
    verdict: Verdict,
    /// Every rule that the plan breaks; empty when it is allowed.
    reasons: Vec<Reason>,
    /// Resolved name of the model.
    model: String,
}

impl Planner {
    pub(crate) fn new(models: Models, policy: Policy, slots: u16) -> Self {
        Self {
            models,
            policy,
            slots,
        }
    }
}

#[async_trait]
impl Agent for Planner {
    fn about(&self) -> About {
        About {
            name: ServiceName::AutomationAgent,
            version: env!("CARGO_PKG_VERSION"),
            description: "Plans shell and Python steps for a goal and judges them by a policy.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability {
            task_type: "automation.plan",
            description: "Plans steps for a goal; runs nothing.",
            effect_mode: EffectMode::Idempotent,
            max_attempts: 3,
            attempt_timeout: Duration::from_secs(600),
        }]
    }

    fn slots(&self) -> u16 {
        self.slots
    }

    async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
        let input = task.input_json::<Input>()?.checked()?;
        let mut conversation = Conversation::new(&input);
        loop {
            let answer = self.models.ask(&task, conversation.request()).await?;
            match conversation.answered(&answer.text) {
                Reply::Plan(plan) => return json_payload(&self.judged(plan, answer.model)),
                Reply::AskAgain => {}
                Reply::GiveUp(failure) => return Err(failure),
            }
        }
    }
}

impl Planner {
    fn judged(&self, plan: Plan, model: String) -> Judged {
        let reasons = self.policy.judge(&plan);
        let verdict = if reasons.is_empty() {
            Verdict::Allowed
        } else {
            Verdict::Refused
        };
        Judged {
            plan,
            verdict,
            reasons,
            model,
        }
    }
}

impl Input {
    fn checked(self) -> Result<Self, Failure> {
        let long = |text: &str, limit| text.chars().count() > limit;
        if self.goal.trim().is_empty() || long(&self.goal, GOAL) {
            let text = format!("`goal` needs 1 to {GOAL} characters");
            return Err(Failure::invalid(text));
        }
        let constraints = &self.constraints;
        if constraints.len() > CONSTRAINTS || constraints.iter().any(|c| long(c, CONSTRAINT)) {
            let text = format!(
                "`constraints` takes at most {CONSTRAINTS} texts of at most {CONSTRAINT} characters"
            );
            return Err(Failure::invalid(text));
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Input, String> {
        let input: Input = serde_json::from_str(text).map_err(|error| error.to_string())?;
        input.checked().map_err(|failure| failure.reason)
    }

    #[test]
    fn agt_03_the_input_is_read_strictly() {
        assert_eq!(read(r#"{"goal":"g"}"#).unwrap().goal, "g");
        assert!(
            read(r#"{"goal":"g","network":true}"#)
                .unwrap_err()
                .contains("network")
        );
        let long = "x".repeat(GOAL + 1);
        let many = vec!["c"; CONSTRAINTS + 1];
        for refused in [
            serde_json::json!({"goal": " "}),
            serde_json::json!({"goal": long}),
            serde_json::json!({"goal": "g", "constraints": many}),
            serde_json::json!({"goal": "g", "constraints": ["c".repeat(CONSTRAINT + 1)]}),
        ] {
            assert_eq!(read(&refused.to_string()).unwrap_err(), "validation_failed");
        }
    }
}
