//! Opening the connection.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use redis::{
    Client, IntoConnectionInfo,
    aio::{ConnectionManager, ConnectionManagerConfig},
    io::tcp::TcpSettings,
};
use secrecy::ExposeSecret;
use sutazai_resilience::{Backoff, breaker};

use super::{RedisError, Settings};

/// The platform goes on without its Redis, so it can be asked again soon.
pub(super) const BREAKER: breaker::Settings = breaker::Settings {
    consecutive_failures: 5,
    open_for: Backoff {
        min: Duration::from_millis(500),
        max: Duration::from_secs(5),
    },
};

/// Units of work in a row without an answer after which a connection is replaced. Fewer than open the
/// breaker: what it lets through after a pause has another connection already.
const SILENCES: u32 = 3;

/// A connection, and what became of the work on it.
pub(super) struct Line {
    manager: ConnectionManager,
    /// Units of work in a row that got no answer.
    silences: AtomicU32,
}

pub(super) fn client(settings: &Settings) -> Result<Client, RedisError> {
    let info = settings.url.expose_secret().into_connection_info();
    // Commands are small, and each one is waited for.
    let tcp = TcpSettings::default()
        .set_nodelay(true)
        // A host that is gone acknowledges nothing. The system alone would try for a quarter of an hour.
        .set_user_timeout(settings.response_timeout.saturating_mul(2));
    let info = info.map_err(RedisError::Address)?.set_tcp_settings(tcp);
    Client::open(info).map_err(RedisError::Address)
}

/// Makes a connection, which its manager opens with the first command and again after each loss.
pub(super) fn line(client: &Client, settings: &Settings) -> Result<Line, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        // A command fails at once where nobody listens: when to try again is the breaker's decision.
        .set_number_of_retries(0);
    let manager = ConnectionManager::new_lazy_with_config(client.clone(), config);
    Ok(Line {
        manager: manager.map_err(RedisError::Address)?,
        silences: AtomicU32::new(0),
    })
}

impl Line {
    pub(super) fn manager(&self) -> ConnectionManager {
        self.manager.clone()
    }

    /// Notes how a unit of work ended, and tells whether the next one needs another connection: the
    /// manager keeps a refused login for good, and a time-out is no loss to it, however often it comes.
    pub(super) fn is_spent<T>(&self, outcome: &Result<T, RedisError>) -> bool {
        match outcome {
            Err(RedisError::Timeout) => {
                self.silences.fetch_add(1, Ordering::Relaxed) + 1 >= SILENCES
            }
            // The server was not asked.
            Err(RedisError::BreakerOpen { .. }) => false,
            Err(error) if error.is_login() => true,
            _ => {
                self.silences.store(0, Ordering::Relaxed);
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn settings() -> Settings {
        Settings::new(SecretString::from("redis://127.0.0.1:1/0"))
    }

    #[test]
    fn what_is_not_acknowledged_ends_the_connection_soon() {
        let client = client(&settings()).unwrap();
        let limit = client.get_connection_info().tcp_settings().user_timeout();
        assert_eq!(limit, Some(Duration::from_secs(4)));
    }

    #[tokio::test]
    async fn only_silences_in_a_row_spend_a_connection() {
        let line = line(&client(&settings()).unwrap(), &settings()).unwrap();
        let silence = || Err::<(), _>(RedisError::Timeout);
        let retry_after = Duration::ZERO;
        let not_asked = Err::<(), _>(RedisError::BreakerOpen { retry_after });
        for _ in 0..5 {
            assert!((1..SILENCES).all(|_| !line.is_spent(&silence())));
            assert!(!line.is_spent(&Ok(())));
        }
        assert!((1..SILENCES).all(|_| !line.is_spent(&silence())));
        assert!(!line.is_spent(&not_asked));
        assert!(line.is_spent(&silence()));
    }
}
