//! What a fake node does.

use std::time::Duration;

/// Behaviour of a fake node; every field may be changed while it runs.
#[derive(Clone, Debug)]
pub struct Script {
    /// What `/api/version` says.
    pub version: String,
    /// Whether each answer carries the header of the built-in demo node.
    pub demo: bool,
    /// Names with tag of the models on disk.
    pub models: Vec<String>,
    /// Names with tag of the models in memory.
    pub loaded: Vec<String>,
    /// Pieces of every generated answer.
    pub tokens: Vec<String>,
    /// Time before the first token; the head of the answer comes with it, as from a real node.
    pub first_token_after: Duration,
    /// Time between two tokens.
    pub between_tokens: Duration,
    /// How generation fails; `None` for a healthy node.
    pub fault: Option<Fault>,
}

/// How a generation fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The port is closed and every open connection is cut; lists and version fail too.
    Refuse,
    /// The node answers with this status and an error body.
    Status(u16),
    /// The node takes the request and never answers.
    Hang,
    /// The head of a good answer comes at once, then nothing.
    HangAfterHead,
    /// The connection is cut after this many bytes of the answer, its head included.
    CutAfterBytes(usize),
    /// After this many tokens nothing comes any more.
    StallAfterTokens(usize),
    /// A good head and a body without a byte.
    Empty,
    /// After this many tokens comes a line that is no JSON.
    GarbageAfterTokens(usize),
    /// After this many tokens comes Ollama's own line with an error, and the end.
    ErrorAfterTokens(usize),
    /// The answer ends after this many tokens, regularly for HTTP, but nothing says that it is complete.
    EndAfterTokens(usize),
}

impl Script {
    /// Describes a healthy, fast node with these models on disk, none of them in memory.
    pub fn new<S: Into<String>>(models: impl IntoIterator<Item = S>) -> Self {
        Self {
            version: "0.14.2".to_owned(),
            demo: false,
            models: models.into_iter().map(Into::into).collect(),
            loaded: Vec::new(),
            tokens: ["Hel", "lo", " there"].map(str::to_owned).to_vec(),
            first_token_after: Duration::ZERO,
            between_tokens: Duration::ZERO,
            fault: None,
        }
    }

    /// Puts models into memory.
    #[must_use]
    pub fn loaded<S: Into<String>>(mut self, models: impl IntoIterator<Item = S>) -> Self {
        self.loaded = models.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the pieces of every answer.
    #[must_use]
    pub fn tokens<S: Into<String>>(mut self, tokens: impl IntoIterator<Item = S>) -> Self {
        self.tokens = tokens.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the time before the first token.
    #[must_use]
    pub fn first_token_after(mut self, delay: Duration) -> Self {
        self.first_token_after = delay;
        self
    }

    /// Sets the time between two tokens.
    #[must_use]
    pub fn between_tokens(mut self, delay: Duration) -> Self {
        self.between_tokens = delay;
        self
    }

    /// Sets how generation fails.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Makes the node call itself the demo node.
    #[must_use]
    pub fn demo(mut self) -> Self {
        self.demo = true;
        self
    }

    /// Finds a model as Ollama does: a name without a tag means `latest`.
    pub(crate) fn resolve(&self, asked: &str) -> Option<&str> {
        self.models
            .iter()
            .find(|name| *name == asked || name.strip_suffix(":latest") == Some(asked))
            .map(String::as_str)
    }
}
