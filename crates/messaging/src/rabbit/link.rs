//! One connection that is always there again: lapin's own recovery gives up, and revives no
//! channel that the broker closed.

use std::{io, pin::pin, sync::Arc, time::Duration};

use lapin::{
    Channel, Connection, ConnectionProperties, options::ConfirmSelectOptions, uri::AMQPUri,
};
use metrics::{counter, gauge};
use sutazai_resilience::Backoff;
use sutazai_telemetry::names;
use tokio::{sync::watch, time::timeout};
use tokio_stream::StreamExt;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::KIND;
use super::failure::{late, unavailable};
use crate::broker::BrokerError;
use crate::observe;

/// Waits between tries to connect. Consumers are to be back within 10 s of the broker.
const BACKOFF: Backoff = Backoff {
    min: Duration::from_millis(100),
    max: Duration::from_secs(2),
};
/// Longest time for one try, from the first packet to the open connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// Longest time for opening a channel.
const CHANNEL_LIMIT: Duration = Duration::from_secs(5);
/// How often the state is looked at beside the events, should one be missed.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A connection that is made again whenever it ends; clones share it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    state: watch::Receiver<State>,
    _stop: Arc<DropGuard>,
}

#[derive(Clone, Debug)]
enum State {
    /// The first try is not over.
    Starting,
    Up(Arc<Connection>),
    Down(lapin::Error),
}

impl Link {
    /// Connects in the background, and again after every end, until the last clone is dropped.
    /// `role` tells the connections of a process apart in its metrics.
    pub(super) fn start(
        uri: AMQPUri,
        properties: ConnectionProperties,
        role: &'static str,
    ) -> Self {
        let (sender, state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let keeper = Keeper {
            uri,
            properties,
            role,
            state: sender,
        };
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(keeper.run()).await });
        Self {
            state,
            _stop: Arc::new(stop.drop_guard()),
        }
    }

    /// Returns the connection; fails at once when it is down.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>, BrokerError> {
        let mut state = self.state.clone();
        let tried = state.wait_for(|state| !matches!(state, State::Starting));
        let Ok(tried) = timeout(CONNECT_LIMIT, tried).await else {
            return Err(late("the first connection is not made yet"));
        };
        match tried.as_deref() {
            Ok(State::Up(connection)) => Ok(Arc::clone(connection)),
            Ok(State::Down(error)) => Err(unavailable(error.clone())),
            Ok(State::Starting) | Err(_) => Err(late("nobody connects any more")),
        }
    }

    /// Waits until the connection stands.
    pub(super) async fn up(&self) {
        let mut state = self.state.clone();
        // An error means that nobody connects any more; whoever waits then is told to stop, too.
        let _ = state.wait_for(|state| matches!(state, State::Up(_))).await;
    }

    /// Opens a channel.
    pub(super) async fn channel(&self) -> Result<Channel, BrokerError> {
        let connection = self.connection().await?;
        match timeout(CHANNEL_LIMIT, connection.create_channel()).await {
            Ok(opened) => opened.map_err(unavailable),
            Err(_) => Err(late("no channel was opened")),
        }
    }

    /// Opens a channel whose publishes are confirmed.
    ///
    /// Under a memory or disk alarm nothing that is written gets out, and this fails at once.
    pub(super) async fn confirming_channel(&self) -> Result<Channel, BrokerError> {
        self.unless_blocked().await?;
        let channel = self.channel().await?;
        let select = channel.confirm_select(ConfirmSelectOptions::default());
        match timeout(CHANNEL_LIMIT, select).await {
            Ok(selected) => selected.map_err(unavailable)?,
            Err(_) => return Err(late("confirms were not switched on")),
        }
        Ok(channel)
    }

    /// Fails when the broker takes no messages because it runs out of memory or disk.
    pub(super) async fn unless_blocked(&self) -> Result<(), BrokerError> {
        if self.connection().await?.status().blocked() {
            let text = "it takes no messages: memory or disk is short";
            return Err(unavailable(io::Error::other(text)));
        }
        Ok(())
    }
}

/// Makes the connection, and makes it again.
struct Keeper {
    uri: AMQPUri,
    properties: ConnectionProperties,
    role: &'static str,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn run(&self) {
        let mut failures = 0;
        loop {
            let error = match self.connect().await {
                Ok(connection) => {
                    failures = 0;
                    self.keep(connection).await
                }
                Err(error) => {
                    failures += 1;
                    error
                }
            };
            // The first failure is news, the next hundred are not.
            if failures <= 1 {
                tracing::warn!(connection = self.role, %error, "no connection to the broker");
            }
            self.state.send_replace(State::Down(error));
            let wait = BACKOFF.delay(failures.max(1), &mut rand::rng());
            tokio::time::sleep(wait).await;
        }
    }

    async fn connect(&self) -> Result<Connection, lapin::Error> {
        let connect = Connection::connect_uri(self.uri.clone(), self.properties.clone());
        let tried = match timeout(CONNECT_LIMIT, connect).await {
            Ok(tried) => tried,
            Err(elapsed) => Err(io::Error::new(io::ErrorKind::TimedOut, elapsed).into()),
        };
        let outcome = if tried.is_ok() { "ok" } else { "failed" };
        if tried.is_err() {
            observe::unreached(KIND);
        }
        counter!(names::BROKER_CONNECTS_TOTAL, "connection" => self.role, "outcome" => outcome)
            .increment(1);
        tried
    }

    /// Offers the connection until it ends, and returns why it did.
    async fn keep(&self, connection: Connection) -> lapin::Error {
        let _standing = Standing::new(self.role);
        tracing::info!(connection = self.role, "connected to the broker");
        let connection = Arc::new(connection);
        self.state.send_replace(State::Up(Arc::clone(&connection)));
        let mut events = pin!(connection.events_listener());
        let mut last = lapin::Error::from(io::Error::from(io::ErrorKind::ConnectionAborted));
        while connection.status().connected() {
            match timeout(LOOK_EVERY, events.next()).await {
                Ok(Some(lapin::Event::Error(error))) => last = error,
                Ok(Some(lapin::Event::ConnectionBlocked(reason))) => {
                    tracing::warn!(
                        connection = self.role,
                        reason,
                        "the broker takes no messages"
                    );
                }
                Ok(Some(lapin::Event::ConnectionUnblocked)) => {
                    tracing::info!(connection = self.role, "the broker takes messages again");
                }
                Ok(Some(_)) | Err(_) => {}
                Ok(None) => break,
            }
        }
        last
    }
}

/// Says in the metrics that a connection stands, for as long as this lives.
struct Standing(&'static str);

impl Standing {
    fn new(role: &'static str) -> Self {
        gauge!(names::BROKER_CONNECTED, "connection" => role).set(1.0);
        Self(role)
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        gauge!(names::BROKER_CONNECTED, "connection" => self.0).set(0.0);
    }
}
