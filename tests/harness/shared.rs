//! One platform for all tests of a process that break nothing.

use sutazai_servers::scratch;
use tempfile::TempDir;

use crate::{Setup, Stage, lasting::Lasting, stage};

static SHARED: Lasting<Stage> = Lasting::new();

impl Stage {
    /// Returns the stage of this process, with one node of the default script; it is started once
    /// and ends with the process.
    ///
    /// Others use it at the same time: be a newcomer of your own, and break nothing.
    pub async fn shared() -> &'static Self {
        SHARED.get(|| Setup::default().start_in(folder())).await
    }
}

/// A folder that the next run removes, because nothing of this one lives to do it.
fn folder() -> TempDir {
    let parent = scratch::folder().expect("a temporary folder");
    stage::open_to_servers(TempDir::new_in(parent).expect("a temporary folder"))
}
