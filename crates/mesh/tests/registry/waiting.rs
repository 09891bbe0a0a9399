//! Waiting for what a watch shows.

use std::time::Duration;

use sutazai_mesh::registry::{Instance, Watch};
use tokio::time::timeout;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until the watch shows exactly these instances.
pub(crate) async fn shows(watch: &mut Watch, expected: &[&Instance]) {
    let reached = timeout(PATIENCE, async {
        loop {
            let current = watch.current();
            let complete = expected.iter().all(|instance| current.contains(instance));
            if complete && current.len() == expected.len() {
                return;
            }
            assert!(watch.changed().await, "the registry is gone");
        }
    });
    let outcome = reached.await;
    assert!(
        outcome.is_ok(),
        "expected {expected:?}, found {:?}",
        watch.current()
    );
}
