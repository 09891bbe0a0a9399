//! Two instances of each service share the work.

use serde_json::json;
use sutazai_cli::site::Description;
use system_tests::Client;

use crate::platform::shared;

/// Chats and tasks; with two equal instances the odds of one staying idle are below 2⁻³⁰.
const WORK: usize = 32;

/// Sums the values of a metric with a label.
fn total(metrics: &str, name: &str, label: &str) -> f64 {
    metrics
        .lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn msh_05_calls_reach_both_instances() {
    let platform = shared().await;
    let client = platform.admin();
    let before = served(&platform.description()).await;
    let chats = (0..WORK).map(|_| client.chat("hello"));
    for chat in futures::future::join_all(chats).await {
        assert_eq!(chat.status, 200, "{}", chat.text);
    }
    let tasks = (0..WORK).map(|i| client.submit("llm.generate", json!({"prompt": format!("{i}")})));
    for id in futures::future::join_all(tasks).await {
        assert_eq!(client.finished(&id).await["state"], "succeeded");
    }
    let after = served(&platform.description()).await;
    for ((service, instance, earlier), (.., later)) in before.iter().zip(&after) {
        assert!(
            later > earlier,
            "instance {instance} of {service} answered nothing: {earlier} to {later}"
        );
    }
}

/// Services that are called, each with the metric that counts its answers.
const COUNTED: [(&str, &str, &str); 3] = [
    ("task-coordinator", "db_queries_total", "task.create"),
    ("ollama-proxy", "inference_attempts_total", "opened"),
    ("agent-orchestrator", "agent_attempts_total", "succeeded"),
];

/// Counts what each instance did.
async fn served(description: &Description) -> Vec<(&'static str, usize, f64)> {
    let mut served = Vec::new();
    for (service, metric, label) in COUNTED {
        for (instance, at) in description.replicas[service].iter().enumerate() {
            let metrics = Client::new(&format!("http://{}", at.http), None)
                .get("/metrics")
                .await;
            served.push((service, instance, total(&metrics.text, metric, label)));
        }
    }
    served
}
