//! Which model nodes the platform uses: the machine's Ollama, or the demo node where none answers.

use std::time::Duration;

use serde_json::Value;
use sutazai_mesh::http::HttpClient;
use sutazai_runtime::config::Source;

use super::{Error, demo_node::DemoNode};
use crate::screen::Screen;

/// Where Ollama listens unless told otherwise.
const DEFAULT_URL: &str = "http://127.0.0.1:11434";
/// Port that `OLLAMA_HOST` means when it names none, as Ollama's own client reads it.
const DEFAULT_PORT: u16 = 11434;
/// Longest time to wait for a node to say its version.
const PATIENCE: Duration = Duration::from_secs(2);

/// The nodes that the fleet begins with.
#[derive(Debug)]
pub struct Fleet {
    urls: Vec<String>,
    demo: Option<DemoNode>,
}

impl Fleet {
    /// Takes the nodes of `OLLAMA_URLS` or `OLLAMA_HOST` as they are; where neither is set and no
    /// Ollama answers on this machine, starts the demo node.
    ///
    /// # Errors
    /// Why the demo node can not listen.
    pub async fn find(source: &Source) -> Result<Self, Error> {
        let urls = configured(source);
        let candidates = if urls.is_empty() {
            vec![DEFAULT_URL.to_owned()]
        } else {
            urls
        };
        for url in &candidates {
            if answers(url).await {
                return Ok(Self {
                    urls: candidates,
                    demo: None,
                });
            }
        }
        let demo = DemoNode::start().await?;
        Ok(Self {
            urls: vec![demo.url()],
            demo: Some(demo),
        })
    }

    /// Returns the base URLs.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Says whether the environment names nodes.
    pub(crate) fn is_named(source: &Source) -> bool {
        !configured(source).is_empty()
    }

    /// Puts a node before the others; where it has a model, the demo node leaves.
    pub(crate) async fn lead(&mut self, url: String) {
        if has_model(&url).await
            && let Some(demo) = self.demo.take()
        {
            self.urls.retain(|other| *other != demo.url());
            demo.stop().await;
        }
        self.urls.insert(0, url);
    }

    /// Says whether the demo node stands in for a model.
    pub fn is_demo(&self) -> bool {
        self.demo.is_some()
    }

    /// Tells people when the demo node stands in for a model.
    pub(crate) fn note_demo(&self, screen: &Screen) {
        if self.is_demo() {
            screen.note(
                "no Ollama answered, so the built-in demo node does: it is no model and says so in each \
                 answer; start Ollama (or set OLLAMA_HOST) and start again for real ones",
            );
        }
    }

    /// Stops the demo node.
    pub async fn stop(self) {
        if let Some(demo) = self.demo {
            demo.stop().await;
        }
    }
}

/// Reads the nodes that the environment names, best source first.
fn configured(source: &Source) -> Vec<String> {
    let list = source
        .get("OLLAMA_URLS")
        .or_else(|| source.get("OLLAMA_HOST"))
        .unwrap_or_default();
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(base_url)
        .collect()
}

/// Completes a node as Ollama's own client does: `gpu-1` is `http://gpu-1:11434`, and the wildcard
/// address that a server listens on is reached on loopback.
fn base_url(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let authority = rest.trim_end_matches('/').replace("0.0.0.0", "127.0.0.1");
    let has_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    match (scheme, has_port) {
        ("http", false) if !authority.contains('/') => format!("http://{authority}:{DEFAULT_PORT}"),
        _ => format!("{scheme}://{authority}"),
    }
}

async fn answers(url: &str) -> bool {
    ask(url, "/api/version").await.is_some()
}

async fn has_model(url: &str) -> bool {
    let list = ask(url, "/api/tags").await;
    list.is_some_and(|list| {
        list["models"]
            .as_array()
            .is_some_and(|models| !models.is_empty())
    })
}

/// Returns what a node answers; null when that is no JSON, nothing when it does not answer well.
async fn ask(url: &str, path: &str) -> Option<Value> {
    let client = HttpClient::ollama(PATIENCE).ok()?;
    let request = client
        .request(http::Method::GET, format!("{url}{path}"))
        .timeout(PATIENCE);
    let answer = client.send(request).await.ok()?;
    let answer = answer.error_for_status().ok()?;
    let text = answer.text().await.ok()?;
    Some(serde_json::from_str(&text).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_completed_as_ollamas_client_does() {
        for (given, wanted) in [
            ("gpu-1", "http://gpu-1:11434"),
            ("0.0.0.0:8000", "http://127.0.0.1:8000"),
            ("https://models.example/", "https://models.example"),
            ("http://gpu-2:11434/", "http://gpu-2:11434"),
        ] {
            assert_eq!(base_url(given), wanted);
        }
    }

    #[tokio::test]
    async fn the_demo_node_stays_until_the_first_node_has_a_model() {
        use sutazai_testkit::ollama::{FakeNode, Script};

        for (models, stays) in [(vec![], true), (vec!["tinyllama:latest"], false)] {
            let demo = DemoNode::start().await.unwrap();
            let demo_url = demo.url();
            let mut fleet = Fleet {
                urls: vec![demo_url.clone()],
                demo: Some(demo),
            };
            let node = FakeNode::start(Script::new(models)).await;
            fleet.lead(node.url()).await;
            assert_eq!(fleet.urls()[0], node.url());
            assert_eq!(fleet.urls().contains(&demo_url), stays);
            assert_eq!(fleet.is_demo(), stays);
            assert_eq!(answers(&demo_url).await, stays);
            fleet.stop().await;
        }
    }

    #[test]
    fn the_list_of_urls_wins_over_the_single_host() {
        let source = Source::from_pairs([("OLLAMA_URLS", "a, b"), ("OLLAMA_HOST", "c")]);
        assert_eq!(configured(&source), ["http://a:11434", "http://b:11434"]);
    }
}
