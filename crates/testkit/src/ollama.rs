//! A fake node of Ollama that follows a script and records what it saw.

mod answer;
mod record;
mod routes;
mod script;
mod server;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::watch, task::JoinHandle, time::Instant};

pub use record::{End, Seen};
pub use script::{Fault, Script};

use record::Record;

/// A running fake node; it stops when it is dropped.
#[derive(Debug)]
pub struct FakeNode {
    address: SocketAddr,
    script: watch::Sender<Script>,
    record: Arc<Record>,
    server: JoinHandle<()>,
}

impl FakeNode {
    /// Starts a node on a free port of the loopback interface.
    #[expect(clippy::expect_used, reason = "without a free port no test can run")]
    pub async fn start(script: Script) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("no free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let (script, watching) = watch::channel(script);
        let record = Arc::new(Record::default());
        let server = tokio::spawn(server::run(listener, watching, record.clone()));
        Self {
            address,
            script,
            record,
            server,
        }
    }

    /// Returns the base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns where the node listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Replaces the script; answers that already began keep theirs.
    pub fn set_script(&self, script: Script) {
        self.script.send_replace(script);
    }

    /// Changes the script in place.
    pub fn update(&self, change: impl FnOnce(&mut Script)) {
        self.script.send_modify(change);
    }

    /// Closes the port and every connection, as a crash would.
    pub fn kill(&self) {
        self.update(|script| script.fault = Some(Fault::Refuse));
    }

    /// Takes connections again, on the same port, and forgets every fault.
    pub fn revive(&self) {
        self.update(|script| script.fault = None);
    }

    /// Returns every request seen, oldest first.
    pub fn requests(&self) -> Vec<Seen> {
        self.record.requests()
    }

    /// Returns the requests to one path, oldest first.
    pub fn requests_to(&self, path: &str) -> Vec<Seen> {
        self.record
            .requests()
            .into_iter()
            .filter(|seen| seen.path == path)
            .collect()
    }

    /// Returns how many answers were dropped by the other side before their end.
    pub fn aborted(&self) -> usize {
        self.record.aborted()
    }

    /// Returns every generation and embedding that is over, in the order of their ends.
    pub fn ends(&self) -> Vec<End> {
        self.record.ends()
    }

    /// Returns how many generations and embeddings run now.
    pub fn in_flight(&self) -> usize {
        self.record.in_flight()
    }

    /// Returns the largest number of generations and embeddings that ran at once.
    pub fn peak(&self) -> usize {
        self.record.peak()
    }

    /// Returns how many pieces of answers were handed to the network.
    pub fn produced(&self) -> usize {
        self.record.produced()
    }

    /// Waits until `count` answers were aborted and returns when the last of them was; `None` when it took too long.
    pub async fn wait_aborted(&self, count: usize, within: Duration) -> Option<Instant> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(at) = self.record.abort_time(count) {
                return Some(at);
            }
            if Instant::now() >= deadline {
                return None;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.server.abort();
    }
}
