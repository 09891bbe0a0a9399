//! SIGTERM to one instance: out of the registry first, out of service later.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::TcpStream;

use crate::platform::{REPLICAS, shared, within};

/// The pause that watchers have at least to see that an instance left; a little less than the 2 s,
/// because we see the first of them late.
const NOTICE: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn msh_04_a_stopping_instance_leaves_consul_before_it_refuses_connections() {
    let platform = shared().await;
    let passing = platform.passing("ollama-proxy").await.expect("Consul");
    assert_eq!(passing.len(), REPLICAS);
    let old = platform.signal("ollama-proxy", Signal::TERM);

    let gone = within("its entry is gone", async || {
        let now = platform.passing("ollama-proxy").await?;
        let left = passing.iter().find(|one| {
            now.iter()
                .all(|other| other["Service"]["ID"] != one["Service"]["ID"])
        })?;
        Some(left.clone())
    })
    .await;
    let left = Instant::now();
    let port = gone["Service"]["Meta"]["grpc_port"]
        .as_str()
        .expect("a port");
    let address = format!("127.0.0.1:{port}");
    assert!(
        TcpStream::connect(&address).await.is_ok(),
        "{address} was closed before watchers could see that it left"
    );
    within("its listener is closed", async || {
        TcpStream::connect(&address).await.is_err().then_some(())
    })
    .await;
    assert!(
        left.elapsed() > NOTICE,
        "closed {:?} after leaving",
        left.elapsed()
    );
    platform.replaced("ollama-proxy", old).await;
}
