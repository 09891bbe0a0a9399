//! What a client is told whose request outlives the grace of its process.

use bytes::Bytes;
use sutazai_proto::{ErrorCode, Problem};

/// For people, in every protocol.
pub(crate) const STOPPING: &str = "the service is stopping; ask again, another instance may answer";

/// What a stream says when it is cut off, before it breaks: a whole frame of its own format.
///
/// A handler puts it into the extensions of its response.
#[derive(Clone, Debug)]
pub struct LastWords(pub Bytes);

/// Returns the document that says that the process stops.
pub fn shutting_down() -> Problem {
    Problem::new(ErrorCode::Unavailable, "shutting_down", STOPPING)
}
