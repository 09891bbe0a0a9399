//! Nodes that come, change and go while the fleet works.

use std::collections::BTreeMap;

use sutazai_mesh::registry::{Foreign, InstanceId, Registry, memory::MemoryRegistry};
use tokio_util::sync::CancellationToken;

use super::*;

/// A fleet that follows a registry, beside the nodes in its configuration.
struct Followed {
    fleet: Arc<Fleet>,
    registry: MemoryRegistry,
    stop: CancellationToken,
}

impl Followed {
    async fn start(configured: &[&FakeNode]) -> Self {
        let fleet = fleet(configured).await;
        let registry = MemoryRegistry::new();
        let stop = CancellationToken::new();
        let listed = registry.watch_foreign("ollama");
        tokio::spawn(fleet.clone().follow(listed, stop.clone()));
        Self {
            fleet,
            registry,
            stop,
        }
    }

    fn register(&self, nodes: &[(&FakeNode, Option<&str>)]) {
        let of = |(node, weight): &(&FakeNode, Option<&str>)| Foreign {
            id: InstanceId::new(node.address().to_string()),
            host: node.address().ip().to_string(),
            port: node.address().port(),
            meta: weight
                .map(|weight| ("weight".to_owned(), weight.to_owned()))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
        };
        let nodes = nodes.iter().map(of).collect();
        self.registry.set_foreign("ollama", nodes);
    }

    /// Waits until exactly these nodes are live.
    async fn has(&self, nodes: &[&FakeNode]) {
        let mut expected: Vec<_> = nodes.iter().map(|node| node.url()).collect();
        expected.sort();
        let deadline = Instant::now() + SOON;
        loop {
            let views = self.fleet.nodes();
            let live = views.iter().filter(|node| node.live);
            let mut found: Vec<_> = live.map(|node| node.url.clone()).collect();
            found.sort();
            if found == expected && views.len() == nodes.len() {
                return;
            }
            assert!(Instant::now() < deadline, "{views:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for Followed {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A node with the model in memory: one that had to load it would come last.
fn ready() -> Script {
    script().loaded([MODEL])
}

fn asked(node: &FakeNode) -> usize {
    node.requests_to("/api/chat").len()
}

#[tokio::test]
async fn olp_05_nodes_come_and_go_beside_the_configured_ones() {
    let (fixed, other) = (
        FakeNode::start(ready()).await,
        FakeNode::start(ready()).await,
    );
    let followed = Followed::start(&[&fixed]).await;
    followed.has(&[&fixed]).await;
    followed.register(&[(&other, None)]);
    followed.has(&[&fixed, &other]).await;
    for _ in 0..4 {
        ask(&followed.fleet, MODEL).await.unwrap();
    }
    assert_eq!((asked(&fixed), asked(&other)), (2, 2));

    followed.register(&[]);
    followed.has(&[&fixed]).await;
    for _ in 0..4 {
        ask(&followed.fleet, MODEL).await.unwrap();
    }
    assert_eq!((asked(&fixed), asked(&other)), (6, 2));
    idle(&followed.fleet).await;
}

#[tokio::test]
async fn olp_05_without_a_list_the_fleet_is_what_registers() {
    let node = FakeNode::start(ready()).await;
    let followed = Followed::start(&[]).await;
    assert!(ask(&followed.fleet, MODEL).await.is_err());
    followed.register(&[(&node, None)]);
    followed.has(&[&node]).await;
    ask(&followed.fleet, MODEL).await.unwrap();
}

#[tokio::test]
async fn olp_05_a_node_that_leaves_finishes_what_it_has() {
    let slow = ready().between_tokens(Duration::from_millis(20));
    let node = FakeNode::start(slow).await;
    let followed = Followed::start(&[]).await;
    followed.register(&[(&node, None)]);
    followed.has(&[&node]).await;
    let mut tokens = open(&followed.fleet, MODEL).await.unwrap();
    followed.register(&[]);
    followed.has(&[]).await;
    let (text, end) = listen(&mut tokens).await;
    assert!(matches!(end, Ok(Some(_))), "`{text}`: {end:?}");
    assert_eq!(node.aborted(), 0);
    assert!(ask(&followed.fleet, MODEL).await.is_err(), "nobody is left");
}

#[tokio::test]
async fn olp_05_another_weight_is_in_force_without_a_restart() {
    let nodes = (
        FakeNode::start(ready()).await,
        FakeNode::start(ready()).await,
    );
    let followed = Followed::start(&[]).await;
    followed.register(&[(&nodes.0, None), (&nodes.1, None)]);
    followed.has(&[&nodes.0, &nodes.1]).await;
    // Taken out of service by its weight.
    followed.register(&[(&nodes.0, Some("0")), (&nodes.1, None)]);
    let deadline = Instant::now() + SOON;
    loop {
        let before = asked(&nodes.0);
        for _ in 0..4 {
            ask(&followed.fleet, MODEL).await.unwrap();
        }
        if asked(&nodes.0) == before {
            break;
        }
        assert!(Instant::now() < deadline, "it still gets requests");
    }
    followed.has(&[&nodes.0, &nodes.1]).await;

    // Three requests of four at once.
    followed.register(&[(&nodes.0, Some("3")), (&nodes.1, None)]);
    let deadline = Instant::now() + SOON;
    loop {
        let before = (asked(&nodes.0), asked(&nodes.1));
        let four = futures::future::join_all((0..4).map(|_| open(&followed.fleet, MODEL)));
        let opened: Vec<_> = four.await.into_iter().map(Result::unwrap).collect();
        let got = (asked(&nodes.0) - before.0, asked(&nodes.1) - before.1);
        drop(opened);
        idle(&followed.fleet).await;
        if got == (3, 1) {
            return;
        }
        assert!(Instant::now() < deadline, "{got:?}");
    }
}
