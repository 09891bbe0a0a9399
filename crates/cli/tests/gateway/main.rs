//! The gateway's configuration in a Kong: one suite over the double, and over a real one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod command;
mod door;
mod double;
mod real;
mod suite;

use std::time::Duration;

use sutazai_auth::keys::SigningKey;
use sutazai_cli::gateway::admin::Admin;
use sutazai_gateway::kong::{self, Site, TokenKey, entity::Declaration};
use sutazai_mesh::http::HttpClient;
use sutazai_resilience::Breakers;

/// Makes a client of the admin API.
fn admin(url: &str) -> Admin {
    let http = HttpClient::external(Duration::from_secs(5)).unwrap();
    Admin::new(url, http, &Breakers::new())
}

/// Returns a configuration with everything in it: a key and an origin.
fn full() -> Declaration {
    let key = SigningKey::generate().unwrap();
    kong::declaration(&Site {
        keys: vec![TokenKey {
            id: key.public().kid().to_owned(),
            pem: key.public().to_pem(),
        }],
        origins: vec!["https://app.example.com".to_owned()],
    })
}
