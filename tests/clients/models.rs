//! The official clients of OpenAI and Ollama at the model fleet's own door.

use serde_json::{Value, json};
use system_tests::{PythonScript, Stage};

const MODEL: &str = "tinyllama:latest";
const TEXT: &str = "Hello there";

/// Where a client asks, and for which model.
pub(crate) struct Door {
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) model: String,
    /// Whether to leave an answer; for a model that never ends by itself and has one slot.
    pub(crate) leave: bool,
}

impl Door {
    /// Leads to the platform, with the administrator's API key.
    pub(crate) fn of(stage: &Stage, model: &str) -> Self {
        let key = std::fs::read_to_string(&stage.description().api_key_file);
        Self {
            url: stage.description().models.clone(),
            key: key.expect("the API key").trim().to_owned(),
            model: model.to_owned(),
            leave: false,
        }
    }

    fn input(&self, url: &str) -> Value {
        json!({"url": url, "key": self.key, "model": self.model, "leave": self.leave})
    }

    /// Lets OpenAI's client see everything that it knows, and checks what holds for every model.
    pub(crate) async fn openai(&self) -> Value {
        let script = PythonScript::named("openai_client.py").await;
        let url = format!("{}/v1", self.url);
        let input = self.input(&url);
        let seen: Value = script.input(input).answer().await;
        assert_contains(&seen["models"], &self.model);
        assert_eq!(seen["model"], self.model.as_str(), "{seen}");
        for answer in ["whole", "streamed"] {
            let reason = &seen[answer]["reason"];
            assert!(reason == "stop" || reason == "length", "{answer}: {seen}");
            assert!(
                seen[answer]["usage"]["total_tokens"].is_u64(),
                "{answer}: {seen}"
            );
        }
        assert_ne!(joined(&seen["streamed"]), "", "{seen}");
        assert_eq!(
            joined(&seen["streamed"]),
            seen["whole"]["text"],
            "one seed, two ways"
        );
        assert_same_vectors(&seen["packed"], &seen["plain"]);
        assert_eq!(seen["missing"]["kind"], "NotFoundError", "{seen}");
        seen
    }

    /// Lets Ollama's client see everything that it knows, and checks what holds for every model.
    pub(crate) async fn ollama(&self) -> Value {
        let script = PythonScript::named("ollama_client.py").await;
        let input = self.input(&self.url);
        let seen: Value = script.input(input).answer().await;
        assert_contains(&seen["models"], &self.model);
        assert_eq!(seen["details"], true, "{seen}");
        for (whole, streamed) in [("chat", "chunks"), ("text", "parts")] {
            assert_eq!(seen[whole]["done"], true, "{whole}: {seen}");
            assert_ne!(joined(&seen[streamed]), "", "{streamed}: {seen}");
            assert_eq!(
                joined(&seen[streamed]),
                seen[whole]["text"],
                "one seed, two ways"
            );
            let done = seen[streamed]["done"].as_array().expect("chunks");
            let ends = done.iter().filter(|done| **done == true).count();
            assert_eq!(
                (ends, done.last()),
                (1, Some(&json!(true))),
                "{streamed}: {seen}"
            );
        }
        let vectors = seen["embed"].as_array().expect("vectors");
        assert_eq!(vectors.len(), 2, "{seen}");
        for vector in [&vectors[0], &vectors[1], &seen["embeddings"]] {
            assert!(
                vector.as_array().is_some_and(|vector| !vector.is_empty()),
                "{seen}"
            );
        }
        for missing in ["missing", "missing_stream"] {
            assert_eq!(seen[missing]["status"], 404, "{missing}: {seen}");
        }
        seen
    }
}

fn assert_contains(list: &Value, item: &str) {
    let items = list.as_array().expect("a list");
    assert!(items.iter().any(|found| found == item), "{item} in {list}");
}

/// Base64 carries single precision, JSON may carry more.
fn assert_same_vectors(packed: &Value, plain: &Value) {
    let numbers = |vectors: &Value| -> Vec<f64> {
        let vectors = vectors.as_array().expect("vectors").iter();
        let numbers = vectors.flat_map(|vector| vector.as_array().expect("a vector"));
        numbers.filter_map(Value::as_f64).collect()
    };
    let (packed, plain) = (numbers(packed), numbers(plain));
    assert!(!plain.is_empty() && packed.len() == plain.len());
    for (a, b) in packed.iter().zip(&plain) {
        assert!((a - b).abs() < 1e-6, "{a} and {b}");
    }
}

fn joined(streamed: &Value) -> String {
    let pieces = streamed["pieces"].as_array().expect("pieces");
    pieces.iter().filter_map(Value::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_10_openais_own_client_is_served() {
    let stage = Stage::start().await;
    let seen = Door::of(&stage, MODEL).openai().await;
    assert_eq!(seen["whole"]["text"], TEXT);
    let pieces = seen["streamed"]["pieces"].as_array().expect("pieces");
    let said = pieces.iter().filter(|piece| **piece != "").count();
    assert_eq!(said, 3, "each token arrives as it is: {seen}");
    assert_eq!(seen["stranger"]["kind"], "AuthenticationError", "{seen}");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn llm_10_ollamas_own_client_is_served() {
    let stage = Stage::start().await;
    let seen = Door::of(&stage, MODEL).ollama().await;
    for whole in ["chat", "text"] {
        assert_eq!(seen[whole]["text"], TEXT);
    }
    assert_eq!(seen["stranger"]["status"], 401, "{seen}");
    stage.stop().await;
}
