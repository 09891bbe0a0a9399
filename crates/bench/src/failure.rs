//! Why something could not be measured. A failed row is no slow row.

use std::io;

use sutazai_servers::LaunchError;

/// Why there is no figure.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The system refused something.
    #[error("can not {doing}")]
    System {
        /// What was tried.
        doing: String,
        /// Why not.
        source: io::Error,
    },
    /// A program did not take work in time, or ended.
    #[error("{name} is not ready; its log is {log}")]
    NotReady {
        /// The program.
        name: String,
        /// Where it says why.
        log: String,
    },
    /// An answer was wrong, cut or missing.
    #[error("{0}")]
    Wrong(String),
    /// A row was asked for that does not exist.
    #[error("there is no row {0}; the rows are {1}")]
    NoRow(String, String),
    /// A program of somebody else is not there.
    #[error("{0} is not there: {1}")]
    Missing(&'static str, String),
    /// A server does not start.
    #[error(transparent)]
    Server(#[from] LaunchError),
    /// A file does not hold the JSON that it should.
    #[error("not the JSON that was expected")]
    Json(#[from] serde_json::Error),
}

impl Failure {
    /// Makes the error of a step from what the system said.
    pub fn doing(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = what.into();
        move |source| Self::System { doing, source }
    }

    /// Makes the error of an answer that is not as it has to be.
    pub fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(what.into())
    }
}
