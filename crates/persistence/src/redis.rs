//! The one way to a Redis: one multiplexed connection that comes back by itself, a breaker and a
//! clock around each unit of work.

mod connect;
mod error;
mod memory;
mod settings;
mod subscription;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use redis::{
    Client, Cmd, FromRedisValue, Pipeline, RedisResult, ScriptInvocation, aio::ConnectionManager,
};
use sutazai_resilience::{Breaker, Breakers, Deadline};
use sutazai_telemetry::names;
use tracing::Instrument;

use self::connect::Line;
pub(crate) use self::subscription::Subscription;
pub use self::{error::RedisError, memory::Memory, settings::Settings};

/// The one connection of this process to its Redis; clones share it.
#[derive(Clone)]
pub struct Redis(Arc<Inner>);

struct Inner {
    client: Client,
    /// Comes back by itself after a loss; replaced where it would not.
    line: Mutex<Arc<Line>>,
    breaker: Breaker,
    settings: Settings,
    /// Units of work that the server answered.
    answered: AtomicU64,
}

/// A unit of work.
#[derive(Clone, Copy)]
enum Work<'a> {
    Command(&'a Cmd),
    Pipeline(&'a Pipeline),
    Script(&'a ScriptInvocation<'a>),
}

impl Work<'_> {
    async fn send<T: FromRedisValue>(self, mut connection: ConnectionManager) -> RedisResult<T> {
        match self {
            Self::Command(command) => command.query_async(&mut connection).await,
            Self::Pipeline(pipeline) => pipeline.query_async(&mut connection).await,
            Self::Script(script) => script.invoke_async(&mut connection).await,
        }
    }
}

impl Redis {
    /// Makes the connection, which is opened with the first unit of work. A server that is away
    /// makes that one fail, not this.
    ///
    /// Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`RedisError::Address`] when the URL names no Redis.
    pub fn new(settings: Settings, breakers: &Breakers) -> Result<Self, RedisError> {
        let client = connect::client(&settings)?;
        let line = connect::line(&client, &settings)?;
        Ok(Self(Arc::new(Inner {
            line: Mutex::new(Arc::new(line)),
            client,
            breaker: breakers.get_with("redis", connect::BREAKER),
            settings,
            answered: AtomicU64::new(0),
        })))
    }

    /// Has the server answer, and returns the evidence.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn ping(&self) -> Result<String, RedisError> {
        let mut ask = redis::cmd("INFO");
        let info: String = self.command("ping", ask.arg("server")).await?;
        let version = memory::field(&info, "redis_version").unwrap_or("of unknown version");
        Ok(format!("Redis {version} at {}", self.address()))
    }

    /// Asks the server how much it may hold and holds.
    ///
    /// # Errors
    /// [`RedisError`]
    pub async fn memory(&self) -> Result<Memory, RedisError> {
        let mut ask = redis::cmd("INFO");
        let info: String = self.command("memory", ask.arg("memory")).await?;
        Ok(Memory::read(&info))
    }

    /// Returns host and port, without credentials.
    pub fn address(&self) -> String {
        self.0.client.get_connection_info().addr().to_string()
    }

    /// Returns how many units of work the server answered.
    pub fn answered(&self) -> u64 {
        self.0.answered.load(Ordering::Relaxed)
    }

    /// Returns the breaker, for the list of a process that shares this connection.
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    /// Does one command.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        self.run(operation, self.limit(), Work::Command(command))
            .await
    }

    /// Does several commands in one go.
    pub(crate) async fn pipeline<T: FromRedisValue>(
        &self,
        operation: &'static str,
        pipeline: &Pipeline,
    ) -> Result<T, RedisError> {
        self.run(operation, self.limit(), Work::Pipeline(pipeline))
            .await
    }

    /// Runs a script on the server.
    pub(crate) async fn script<T: FromRedisValue>(
        &self,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        self.script_within(self.limit(), operation, script).await
    }

    /// Runs a script on the server, for a caller that can not wait long.
    pub(crate) async fn script_within<T: FromRedisValue>(
        &self,
        limit: Duration,
        operation: &'static str,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        self.run(operation, limit, Work::Script(script)).await
    }

    /// Hears what is published on a channel, over a connection of its own.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<Subscription, RedisError> {
        let opened = Subscription::open(&self.0.client, &self.0.settings, channel).await;
        opened.inspect_err(count_connection_error)
    }

    async fn run<T: FromRedisValue>(
        &self,
        operation: &'static str,
        limit: Duration,
        work: Work<'_>,
    ) -> Result<T, RedisError> {
        let begun = Instant::now();
        let span = tracing::info_span!("redis.run", operation);
        let line = self.line();
        let attempt = async {
            match work.send(line.manager()).await {
                // Known from an earlier try: the manager has just begun the next one. Nothing was sent.
                Err(error) if error.is_connection_refusal() => work.send(line.manager()).await,
                answer => answer,
            }
        };
        let call = self
            .0
            .breaker
            .call(Deadline::after(limit), error::is_unreachable, attempt);
        let result = call.instrument(span).await.map_err(RedisError::from);
        if line.is_spent(&result) {
            self.replace(&line);
        }
        let outcome = match &result {
            Ok(_) => "ok",
            Err(error) => {
                count_connection_error(error);
                error.outcome()
            }
        };
        if matches!(result, Ok(_) | Err(RedisError::Refused(_))) {
            self.0.answered.fetch_add(1, Ordering::Relaxed);
        }
        metrics::histogram!(names::REDIS_OPERATION_DURATION_SECONDS, "operation" => operation)
            .record(begun.elapsed());
        metrics::counter!(names::REDIS_OPERATIONS_TOTAL, "operation" => operation, "outcome" => outcome)
            .increment(1);
        result
    }

    fn limit(&self) -> Duration {
        self.0.settings.response_timeout
    }

    fn line(&self) -> Arc<Line> {
        Arc::clone(&self.0.line.lock())
    }

    /// Puts another connection in the place of this one, once however many found it spent. What is still
    /// on its way on the old one may end there.
    fn replace(&self, spent: &Arc<Line>) {
        let mut line = self.0.line.lock();
        if Arc::ptr_eq(&line, spent)
            && let Ok(fresh) = connect::line(&self.0.client, &self.0.settings)
        {
            *line = Arc::new(fresh);
        }
    }
}

fn count_connection_error(error: &RedisError) {
    if matches!(error, RedisError::Unavailable(_) | RedisError::Timeout) {
        metrics::counter!(names::CONNECTION_ERRORS_TOTAL, "to" => "redis").increment(1);
    }
}

/// Shows where it leads, never the credentials.
impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.address()).finish()
    }
}
