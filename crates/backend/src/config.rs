//! Settings of the backend.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use sutazai_auth::{
    Identity,
    api_key::ApiKey,
    keys::{Issuer, KeyError, KeySet, SigningKey, USER_TOKENS},
    password, store,
};
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::postgres::Settings;
use sutazai_runtime::{
    config::{self, Base, Configured, Reader, Strength},
    entry::Need,
};

use crate::{
    MIGRATOR,
    http::{AllowedOrigins, Rates},
};

/// Days that a conversation is kept after its newest turn, by default.
const RETENTION_DAYS: u32 = 365;
/// Longest life that can be set: a hundred years.
const RETENTION_LIMIT: u32 = 36_500;

/// Settings of the backend.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens and how it stops.
    pub base: Base,
    /// The database, schema `backend`.
    pub database: Settings,
    /// Private key with which the backend signs its calls to other services.
    pub service_key_file: PathBuf,
    /// Public keys of the platform.
    pub jwks_file: PathBuf,
    /// Private key that signs users' tokens.
    pub user_key: UserKey,
    /// Signs cursors.
    pub secret_key: SecretString,
    /// Password of the administrator's account when it is made.
    pub admin_password: SecretString,
    /// API key that the administrator brings.
    pub admin_api_key: Option<ApiKey>,
    /// Days that a conversation is kept after its newest turn.
    pub conversation_retention_days: u32,
    /// Origins of other sites that may use the API from a browser.
    pub cors_allowed_origins: AllowedOrigins,
    /// How often one principal may ask.
    pub rates: Rates,
}

/// Where the key of users' tokens comes from.
#[derive(Clone, Debug)]
pub enum UserKey {
    /// A file with the private key.
    File(PathBuf),
    /// A secret that seeds it.
    Secret(SecretString),
}

impl UserKey {
    /// Makes the key, which everybody else must be able to verify.
    ///
    /// # Errors
    /// The key cannot be read, or `published` does not hold it for users' tokens.
    pub(crate) fn open(
        &self,
        published: &KeySet,
        jwks_file: &Path,
    ) -> Result<SigningKey, UserKeyError> {
        let key = match self {
            Self::File(path) => SigningKey::from_file(path)?,
            Self::Secret(secret) => SigningKey::from_secret(secret, USER_TOKENS)?,
        };
        let found = published.find(key.public().kid());
        if found.is_some_and(|found| found.issuer == Issuer::Platform) {
            Ok(key)
        } else {
            Err(UserKeyError::NotPublished {
                path: jwks_file.to_owned(),
            })
        }
    }
}

/// The key of users' tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UserKeyError {
    /// It cannot be read.
    #[error("the key of users' tokens cannot be used")]
    Key(#[from] KeyError),
    /// Nobody would accept the tokens.
    #[error("the key of users' tokens is not published in {}; `sutazai env init` does that", path.display())]
    NotPublished {
        /// The published set.
        path: PathBuf,
    },
}

impl Configured for Config {
    const SERVICE: ServiceName = ServiceName::Backend;
    const USES_BROKER: bool = false;
    const USES_CACHE: bool = true;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base = Base::read(reader, Self::SERVICE);
        let database = config::database(reader, Self::SERVICE, crate::SCHEMA);
        let service_key_file = reader.required(
            "SERVICE_KEY_FILE",
            "path of the private key that signs this service's calls to others",
        );
        let jwks_file = reader.required(
            "JWKS_FILE",
            "path of the file with all public keys of the platform",
        );
        let user_key = read_user_key(reader);
        let secret_key = reader.secret("SECRET_KEY", "signs the cursors of lists", Strength::Key);
        let admin_password = read_admin_password(reader);
        let admin_api_key = read_admin_api_key(reader);
        let conversation_retention_days = reader.within(
            "CONVERSATION_RETENTION_DAYS",
            "days that a conversation is kept after its newest turn",
            RETENTION_DAYS,
            1..=RETENTION_LIMIT,
        );
        let cors_allowed_origins = reader.or(
            "CORS_ALLOWED_ORIGINS",
            "origins of other sites that may use the API from a browser, separated by commas",
            AllowedOrigins::default(),
        );
        let rates = read_rates(reader);
        Some(Self {
            base: base?,
            database: database?,
            service_key_file: service_key_file?,
            jwks_file: jwks_file?,
            user_key: user_key?,
            secret_key: secret_key?,
            admin_password: admin_password?,
            admin_api_key,
            conversation_retention_days,
            cors_allowed_origins,
            rates,
        })
    }

    fn needs(&self) -> Vec<Need> {
        let (key_file, jwks_file) = (self.service_key_file.clone(), self.jwks_file.clone());
        vec![
            Need::database(&self.database, &MIGRATOR),
            Need::database(&self.accounts_database(), &store::MIGRATOR),
            Need::new("keys", async move {
                Identity::check(Self::SERVICE, &key_file, &jwks_file)
            }),
        ]
    }
}

fn read_rates(reader: &mut Reader<'_>) -> Rates {
    let default = Rates::default();
    let mut rate = |name, doc, default| reader.within(name, doc, default, 1..=u32::MAX);
    Rates {
        chat: rate(
            "RATE_LIMIT_CHAT_PER_MINUTE",
            "questions that one principal may ask in a minute, a tenth of them at once",
            default.chat,
        ),
        read: rate(
            "RATE_LIMIT_READ_PER_MINUTE",
            "requests that only read that one principal may make in a minute",
            default.read,
        ),
        write: rate(
            "RATE_LIMIT_WRITE_PER_MINUTE",
            "other requests that one principal may make in a minute",
            default.write,
        ),
    }
}

fn read_user_key(reader: &mut Reader<'_>) -> Option<UserKey> {
    const FILE: &str = "USER_KEY_FILE";
    reader.alias("JWT_SECRET", "JWT_SECRET_KEY");
    let seeded = ["JWT_SECRET", "JWT_SECRET_KEY"]
        .iter()
        .any(|name| reader.is_set(name));
    let file = reader.optional(FILE, "path of the private key that signs users' tokens");
    let secret = reader.optional_secret(
        "JWT_SECRET",
        "seeds the key that signs users' tokens, in place of USER_KEY_FILE",
        Strength::Key,
    );
    match (file, secret) {
        (Some(_), _) if seeded => {
            reader.fault(FILE, "excludes JWT_SECRET; keep one of them");
            None
        }
        (Some(file), _) => Some(UserKey::File(file)),
        (None, Some(secret)) => Some(UserKey::Secret(secret)),
        // The reader has told what is wrong with a secret that is there.
        (None, None) if seeded => None,
        (None, None) => {
            reader.fault(FILE, "is required, or JWT_SECRET_FILE in its place");
            None
        }
    }
}

fn read_admin_password(reader: &mut Reader<'_>) -> Option<SecretString> {
    const NAME: &str = "ADMIN_PASSWORD";
    let doc = "password of the account `admin` when it is made at the first start";
    let password = reader.secret(NAME, doc, Strength::Password)?;
    match password::check(password.expose_secret()) {
        Ok(()) => Some(password),
        Err(error) => {
            reader.fault(NAME, error.to_string());
            None
        }
    }
}

fn read_admin_api_key(reader: &mut Reader<'_>) -> Option<ApiKey> {
    const NAME: &str = "ADMIN_API_KEY";
    let doc = "API key that acts for the administrator; `sutazai env init` makes one";
    let text = reader.optional_secret(NAME, doc, Strength::Key)?;
    let key = ApiKey::parse(text.expose_secret().trim());
    if key.is_err() {
        reader.fault(NAME, "is no API key: the shape or the checksum is wrong");
    }
    key.ok()
}

#[cfg(test)]
mod tests;
