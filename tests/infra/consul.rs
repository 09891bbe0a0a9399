//! What happens to an entry in Consul when its process ends or Consul forgets.

use rustix::process::Signal;

use crate::platform::{REPLICAS, shared, within};

#[tokio::test(flavor = "multi_thread")]
async fn msh_04_a_killed_instance_stops_passing_and_its_successor_passes() {
    let platform = shared().await;
    let ids = |passing: Vec<serde_json::Value>| -> Vec<String> {
        let ids = passing.iter().map(|one| one["Service"]["ID"].to_string());
        ids.collect()
    };
    let before = ids(platform.passing("automation-agent").await.expect("Consul"));
    assert_eq!(before.len(), REPLICAS);
    let old = platform.signal("automation-agent", Signal::KILL);
    within(
        "a successor that passes in place of the killed one",
        async || {
            let now = ids(platform.passing("automation-agent").await?);
            let new = now.iter().filter(|id| !before.contains(id)).count();
            (now.len() == REPLICAS && new == 1).then_some(())
        },
    )
    .await;
    platform.replaced("automation-agent", old).await;
}
