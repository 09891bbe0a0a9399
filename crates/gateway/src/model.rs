//! What a public route is, whatever gateway stands in front.

use std::time::Duration;

use sutazai_mesh::catalog::ServiceName;

use crate::deadlines;

/// A way through the gateway to one of our doors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Unique name of small letters and hyphens.
    pub name: &'static str,
    /// Which requests take it.
    pub paths: Paths,
    /// Where they go.
    pub entry: Entry,
    /// What they must bring.
    pub admission: Admission,
    /// How many, and how large they may be.
    pub class: Class,
    /// Whether the path is passed on without the part that matched.
    pub strips: bool,
}

/// Which paths a route takes. Exact paths and patterns win over everything below a path; of two of
/// those the longer wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paths {
    /// These and no others.
    Exact(&'static [&'static str]),
    /// Everything that begins so: whole families.
    Below(&'static [&'static str]),
    /// Paths of this shape, in which `*` stands for one segment.
    Shaped(&'static str),
}

/// A door of the platform, with the time that is given to what goes through it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// The public API.
    Backend,
    /// The public API where it streams or waits for a model.
    BackendStreaming,
    /// The fleet's own door: the dialects of Ollama and OpenAI, which always wait for a model.
    OllamaProxy,
}

/// What a request must bring to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Nothing.
    Open,
    /// A token that the gateway verifies, or an API key, which the door behind judges.
    Credential,
}

/// Coarse limits per address; the platform has finer ones per principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Probes and documentation.
    Page,
    /// Passwords are tried here.
    Login,
    /// Everything that answers at once.
    Ordinary,
    /// What occupies a model.
    Inference,
}

/// Largest numbers of requests from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In one second.
    pub second: u32,
    /// In one minute.
    pub minute: u32,
}

impl Entry {
    /// All entries.
    pub const ALL: [Self; 3] = [Self::Backend, Self::BackendStreaming, Self::OllamaProxy];

    /// Returns the service behind.
    pub const fn service(self) -> ServiceName {
        match self {
            Self::Backend | Self::BackendStreaming => ServiceName::Backend,
            Self::OllamaProxy => ServiceName::OllamaProxy,
        }
    }

    /// Tells whether answers are passed on piece by piece, and may be silent for long.
    pub const fn streams(self) -> bool {
        !matches!(self, Self::Backend)
    }

    /// Returns the longest silence of an answer.
    pub const fn read_timeout(self) -> Duration {
        if self.streams() {
            deadlines::STREAMING
        } else {
            deadlines::ORDINARY
        }
    }
}

impl Class {
    /// Returns how many requests one address may send.
    pub const fn rate(self) -> Rate {
        let (second, minute) = match self {
            Self::Page => (50, 1200),
            Self::Login => (5, 30),
            Self::Ordinary => (100, 3000),
            Self::Inference => (20, 300),
        };
        Rate { second, minute }
    }

    /// Returns the largest body, in kilobytes of 1000 bytes as Kong counts them: never less than
    /// the door behind accepts, which refuses in words of its own.
    pub const fn body_kilobytes(self) -> u32 {
        match self {
            Self::Page | Self::Login => 32,
            Self::Ordinary => 2_000,
            // Images are sent inside the body.
            Self::Inference => 34_000,
        }
    }
}
