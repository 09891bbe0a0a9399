//! A double of Kong's admin API without a database: it judges entities by the rules that Kong's
//! schemas publish. It serves no traffic, so nothing that it answers says anything about routes.

mod admin;
mod declaration;
mod entity;
mod rules;
mod schema;

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinHandle};

use admin::State;

/// A running double; it stops when it is dropped.
#[derive(Debug)]
pub struct FakeKong {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

impl FakeKong {
    /// Starts a Kong with nothing loaded on a free port of the loopback interface.
    #[expect(clippy::expect_used, reason = "without a free port no test can run")]
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("no free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let state = Arc::new(Mutex::new(State::default()));
        let router = admin::routes(state.clone());
        let server = tokio::spawn(async move {
            // Ends with the task, which is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Self {
            address,
            state,
            server,
        }
    }

    /// Returns the address of the admin API, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns how many configurations came into force.
    pub fn loads(&self) -> usize {
        self.state.lock().loads
    }

    /// Answers everything with this status, or as usual again.
    pub fn fail_with(&self, status: Option<u16>) {
        self.state.lock().failure = status;
    }

    /// Changes what is loaded behind everybody's back, as a second administrator would.
    ///
    /// Returns whether there is such an entity.
    pub fn meddle(&self, kind: &str, name: &str, field: &str, value: Value) -> bool {
        let mut state = self.state.lock();
        let entities = state.loaded.get_mut(kind).and_then(Value::as_array_mut);
        let mut entities = entities.into_iter().flatten();
        let Some(entity) = entities.find(|entity| entity["name"] == name) else {
            return false;
        };
        entity[field] = value;
        true
    }
}

impl Drop for FakeKong {
    fn drop(&mut self) {
        self.server.abort();
    }
}
