//! Hearing what is published on a channel.

use std::time::Duration;

use futures::StreamExt;
use redis::{
    Client,
    aio::{PubSubSink, PubSubStream},
};
use tokio::time::timeout;

use super::{RedisError, Settings};

/// Silence after which the server is asked whether it is still there: a connection can die without
/// a word.
const SILENCE: Duration = Duration::from_secs(5);

/// A connection that hears one channel until it is lost.
pub(crate) struct Subscription {
    sink: PubSubSink,
    messages: PubSubStream,
    answer_within: Duration,
}

impl Subscription {
    pub(super) async fn open(
        client: &Client,
        settings: &Settings,
        channel: &str,
    ) -> Result<Self, RedisError> {
        let open = async {
            let mut connection = client.get_async_pubsub().await?;
            connection.subscribe(channel).await?;
            Ok::<_, redis::RedisError>(connection.split())
        };
        let limit = settings.connect_timeout + settings.response_timeout;
        let (sink, messages) = timeout(limit, open)
            .await
            .map_err(|_elapsed| RedisError::Timeout)??;
        Ok(Self {
            sink,
            messages,
            answer_within: settings.response_timeout,
        })
    }

    /// Waits for the next message; none when the connection is lost.
    pub(crate) async fn next(&mut self) -> Option<String> {
        loop {
            match timeout(SILENCE, self.messages.next()).await {
                Ok(message) => match message?.get_payload() {
                    Ok(text) => return Some(text),
                    Err(error) => tracing::warn!(%error, "a message that is no text"),
                },
                Err(_silence) => self.is_alive().await.then_some(())?,
            }
        }
    }

    async fn is_alive(&mut self) -> bool {
        let answer = timeout(self.answer_within, self.sink.ping::<redis::Value>()).await;
        matches!(answer, Ok(Ok(_)))
    }
}
