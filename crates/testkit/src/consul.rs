//! A stand-in of Consul, for the faults that a real one does not have on demand.
//!
//! It runs no checks: what is registered passes until it is deregistered.

mod catalogue;
mod routes;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use catalogue::Catalogue;

/// How the answers of a stand-in are wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// Answer everything with this status.
    pub status: Option<u16>,
    /// List no instance, though there are some.
    pub empty: bool,
    /// Wait this long before each answer.
    pub delay: Duration,
}

/// A running stand-in; it stops when it is dropped.
#[derive(Debug)]
pub struct FakeConsul {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

/// What requests and tests share.
#[derive(Debug, Default)]
struct State {
    catalogue: watch::Sender<Catalogue>,
    faults: watch::Sender<Faults>,
    /// Method, path and query of each request, oldest first.
    requests: Mutex<Vec<String>>,
}

impl FakeConsul {
    /// Starts a stand-in on a free port of the loopback interface.
    #[expect(clippy::expect_used, reason = "without a free port no test can run")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("no free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let router = routes::routes(Arc::clone(&state));
        let server = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Self {
            address,
            state,
            server,
        }
    }

    /// Returns the base URL, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the answers wrong from now on; whoever waits for a change is answered so.
    pub fn set_faults(&self, faults: Faults) {
        self.state.faults.send_replace(faults);
        self.state.catalogue.send_modify(Catalogue::touch);
    }

    /// Loses all registrations, and counts from the start again.
    pub fn forget(&self) {
        self.state.catalogue.send_modify(Catalogue::forget);
    }

    /// Sets the index back, as a restored server does; everything registered stays.
    pub fn turn_index_back(&self) {
        self.state.catalogue.send_modify(Catalogue::turn_back);
    }

    /// Returns method, path and query of each request seen, oldest first.
    pub fn requests(&self) -> Vec<String> {
        self.state.requests.lock().clone()
    }
}

impl Drop for FakeConsul {
    fn drop(&mut self) {
        self.server.abort();
    }
}
