//! A second agent, whole: one task type, and what a service does to run it.

use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sutazai_agent_kit::{
    About, Agent, Capability, Failure, Payload, Progress, TaskContext, announce::announcement,
    json_payload,
};
use sutazai_auth::principal::{DEFAULT_TENANT, Principal};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::tasks::v1::EffectMode;
use sutazai_resilience::Deadline;
use tokio_util::sync::CancellationToken;

/// Says everything again.
struct Echo;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    text: String,
    times: u32,
}

#[derive(Serialize, Deserialize)]
struct Echoed {
    text: String,
}

#[async_trait]
impl Agent for Echo {
    fn about(&self) -> About {
        About {
            name: ServiceName::AutomationAgent,
            version: env!("CARGO_PKG_VERSION"),
            description: "Says everything again.",
        }
    }

    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability {
            task_type: "text.echo",
            description: "Repeats a text.",
            effect_mode: EffectMode::Idempotent,
            max_attempts: 3,
            attempt_timeout: Duration::from_secs(10),
        }]
    }

    fn slots(&self) -> u16 {
        4
    }

    async fn run(&self, task: TaskContext) -> Result<Payload, Failure> {
        let input: Input = task.input_json()?;
        let mut text = String::new();
        for done in 0..input.times {
            text.push_str(&input.text);
            task.progress.report(&done);
        }
        json_payload(&Echoed { text })
    }
}

async fn run(input: &'static str) -> Result<Payload, Failure> {
    let task = TaskContext {
        task_id: "0198c5d0-0000-7000-8000-000000000000".to_owned(),
        task_type: "text.echo".to_owned(),
        input: Payload {
            data: input.into(),
            content_type: "application/json; charset=utf-8".to_owned(),
        },
        principal: Principal {
            subject: "alice".to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            roles: Vec::new(),
            scopes: None,
        },
        deadline: Deadline::after(Duration::from_secs(10)),
        cancelled: CancellationToken::new(),
        progress: Progress::silent(),
    };
    Echo.run(task).await
}

#[tokio::test]
async fn agt_05_a_second_agent_is_under_a_hundred_lines() {
    let result = run(r#"{"text":"ab","times":2}"#).await.unwrap();
    assert_eq!(result.data.as_ref(), br#"{"text":"abab"}"#);
    let refused = run(r#"{"text":"ab","loud":true}"#).await.unwrap_err();
    assert_eq!(refused.reason, "validation_failed");
    assert!(!refused.retryable);
    assert_eq!(announcement(&Echo).slots, 4);
    assert!(include_str!("echo_agent.rs").lines().count() < 100);
}
