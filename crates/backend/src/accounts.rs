//! Accounts: log in, make and revoke API keys.

use chrono::Utc;
use secrecy::SecretString;
use sutazai_auth::{
    AuthError, Permission, Principal,
    api_key::ApiKey,
    keys::SigningKey,
    store::{self, Grant, Keys, StoredKey},
    token::{Issued, issue_user},
};
use uuid::Uuid;

use crate::error::Error;

/// What the key that the administrator brings is called.
const ADMIN_KEY: &str = "administrator's key of the first start";

/// Makes the credentials of users.
#[derive(Clone)]
pub(crate) struct Accounts {
    stored: store::Accounts,
    keys: Keys,
    user_key: SigningKey,
    /// Second part of every key, for example `live`.
    environment: &'static str,
}

impl Accounts {
    pub(crate) fn new(
        stored: store::Accounts,
        keys: Keys,
        user_key: SigningKey,
        environment: &'static str,
    ) -> Self {
        Self {
            stored,
            keys,
            user_key,
            environment,
        }
    }

    /// Sees to it that the administrator can get in: with the password of the first start, and with
    /// the API key where one is given.
    pub(crate) async fn ensure_admin(
        &self,
        password: &SecretString,
        key: Option<&ApiKey>,
    ) -> Result<(), AuthError> {
        let admin = self.stored.ensure_admin(password).await?.principal();
        let Some(key) = key else {
            return Ok(());
        };
        let grant = Grant {
            name: ADMIN_KEY.to_owned(),
            scopes: Permission::ALL
                .into_iter()
                .filter(|scope| admin.may(*scope))
                .collect(),
            life: store::LIFE_LIMIT,
        };
        if self.keys.ensure(&admin, &grant, key).await? {
            tracing::info!(key.hint = key.hint(), "API key of the administrator stored");
        }
        Ok(())
    }

    /// Returns a token for whoever knows the password.
    pub(crate) async fn login(&self, name: &str, password: &SecretString) -> Result<Issued, Error> {
        let principal = self.stored.login(name, password).await?;
        Ok(issue_user(&self.user_key, &principal, Utc::now())?)
    }

    /// Makes a key; only this answer ever holds it.
    pub(crate) async fn create_key(
        &self,
        owner: &Principal,
        grant: &Grant,
    ) -> Result<(ApiKey, StoredKey), Error> {
        let key = ApiKey::generate(self.environment).ok_or(Error::KeyNotMade)?;
        let stored = self.keys.insert(owner, grant, &key).await?;
        Ok((key, stored.ok_or(Error::KeyNotMade)?))
    }

    /// Lists the owner's keys, newest first.
    pub(crate) async fn keys(&self, owner: &Principal) -> Result<Vec<StoredKey>, Error> {
        Ok(self.keys.list(owner).await?)
    }

    /// Revokes a key of the owner.
    pub(crate) async fn revoke_key(&self, owner: &Principal, id: Uuid) -> Result<(), Error> {
        if self.keys.revoke(owner, id).await? {
            Ok(())
        } else {
            Err(Error::KeyNotFound)
        }
    }
}
