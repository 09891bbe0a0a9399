//! Submissions that end with a task.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::Value;
use system_tests::Client;

/// Longest time until a platform that is busy takes a task.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Submits a task until it is accepted, and returns its id; a platform that is busy says so.
pub(crate) async fn accepted(client: Client, key: String, task: Value) -> String {
    let begun = Instant::now();
    loop {
        let request = client.request(Method::POST, "/api/v1/tasks");
        let request = request.header("Idempotency-Key", &key).json(&task);
        let answer = client.send(request).await;
        if answer.status != StatusCode::SERVICE_UNAVAILABLE || begun.elapsed() > PATIENCE {
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
            return answer.json["id"].as_str().expect("an id").to_owned();
        }
        tokio::time::sleep(PAUSE).await;
    }
}
