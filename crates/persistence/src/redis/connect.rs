//! Opening the connection.

use std::time::Duration;

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

pub(super) fn client(settings: &Settings) -> Result<Client, RedisError> {
    let info = settings.url.expose_secret().into_connection_info();
    // Commands are small, and each one is waited for.
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = info.map_err(RedisError::Address)?.set_tcp_settings(tcp);
    Client::open(info).map_err(RedisError::Address)
}

/// Makes the manager that opens the connection with its first command and again after each loss.
pub(super) fn manager(
    client: &Client,
    settings: &Settings,
) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(settings.connect_timeout))
        .set_response_timeout(Some(settings.response_timeout))
        // A command fails at once where nobody listens: when to try again is the breaker's decision.
        .set_number_of_retries(0);
    ConnectionManager::new_lazy_with_config(client.clone(), config).map_err(RedisError::Address)
}
