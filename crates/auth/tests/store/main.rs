//! Accounts and API keys on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, future, time::Duration};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use sqlx::query;
use sutazai_auth::{
    AuthError, Permission, Principal, Refusal, Role,
    api_key::ApiKey,
    http::Authenticator,
    keys::KeySet,
    store::{ADMIN, Accounts, DEFAULT_LIFE, Grant, Keys, LIFE_LIMIT, MIGRATOR, SCHEMA},
    token::Verifier,
};
use sutazai_persistence::{
    Database,
    migrate::{migrate, verify},
    postgres::Settings,
    provision::{Login, provision},
};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::Breakers;
use sutazai_servers::scratch;
use tokio::{
    task,
    time::{Instant, sleep},
};
use uuid::Uuid;

mod accounts;
mod cold;
mod keys;
mod revocation;
mod roles;

const PASSWORD: &str = "correct horse battery staple";
/// Of the database's logins.
const PASSWORD_IN_URL: &str = "only-for-this-test";
const ALL: [Permission; 2] = [Permission::TasksRead, Permission::ChatUse];

struct World {
    db: Database,
    accounts: Accounts,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        let url = SecretString::from(scratch::database().await.unwrap());
        migrate(&url, SCHEMA, &MIGRATOR).await.unwrap();
        Self::at(url).await
    }

    async fn at(url: SecretString) -> Self {
        let settings = Settings::new(url, SCHEMA, "auth-tests");
        Self::with(settings).await
    }

    async fn with(mut settings: Settings) -> Self {
        (settings.pool_min, settings.pool_max) = (0, 4);
        let db = Database::connect(&settings, &Breakers::new())
            .await
            .unwrap();
        Self {
            accounts: Accounts::new(db.clone()),
            keys: Keys::new(db.clone()),
            db,
        }
    }

    async fn admin(&self) -> Principal {
        let admin = self.accounts.ensure_admin(&PASSWORD.into()).await.unwrap();
        admin.principal()
    }

    /// Changes the tables as another process would.
    async fn change(&self, statement: &'static str) {
        query(statement).execute(self.db.pool()).await.unwrap();
    }

    /// Makes a key and stores it.
    async fn key(&self, owner: &Principal, scopes: &[Permission]) -> (ApiKey, Uuid) {
        let key = ApiKey::generate("test").unwrap();
        let stored = self.keys.insert(owner, &grant(scopes), &key).await.unwrap();
        (key, stored.unwrap().id)
    }

    /// Another process, with a cache of its own that follows the changes.
    async fn replica(&self) -> (Keys, task::JoinHandle<()>) {
        let keys = Keys::new(self.db.clone());
        let following = task::spawn(keys.clone().follow(future::pending()));
        // Only then does what follows show that changes are heard.
        let begun = Instant::now();
        while self.listeners().await == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody listens");
            sleep(Duration::from_millis(20)).await;
        }
        (keys, following)
    }

    async fn listeners(&self) -> i64 {
        let listeners = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and query ilike 'listen %'",
        );
        listeners.fetch_one(self.db.pool()).await.unwrap()
    }
}

fn grant(scopes: &[Permission]) -> Grant {
    Grant {
        name: "laptop".into(),
        scopes: scopes.iter().copied().collect(),
        life: DEFAULT_LIFE,
    }
}

fn is_unknown<T>(outcome: &Result<T, AuthError>) -> bool {
    matches!(outcome, Err(AuthError::Invalid(Refusal::KeyUnknown)))
}

/// Asks until the key is refused as unknown; far less than the life of a cached answer.
async fn soon_unknown(keys: &Keys, key: &ApiKey) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if is_unknown(&keys.find_by_hash(key.hash()).await) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}
