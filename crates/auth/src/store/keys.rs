//! API keys: stored as hashes, judged through the cache.

use std::{collections::BTreeSet, convert::Infallible, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sutazai_persistence::{Database, DatabaseError, postgres::Share};
use sutazai_proto::status::chain;
use tokio::time;
use uuid::Uuid;

use super::cache::{Answer, Answers, Known};
use crate::{
    api_key::{ApiKey, KeyHash},
    error::{AuthError, Refusal},
    permission::Permission,
    principal::Principal,
};

/// Life of a key when none is asked for.
pub const DEFAULT_LIFE: Duration = Duration::from_secs(90 * DAY);
/// Longest life of a key.
pub const LIFE_LIMIT: Duration = Duration::from_secs(366 * DAY);
const SHORTEST_LIFE: Duration = Duration::from_secs(60);
const DAY: u64 = 24 * 60 * 60;
/// The channel on which the tables tell of changes; the migrations name it too.
const CHANNEL: &str = "identity_changed";
/// Pause before the channel is opened again. Until then answers age as they do anyway.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// The API keys.
#[derive(Clone, Debug)]
pub struct Keys {
    db: Database,
    /// For questions about keys, of which there may be as many as there are strangers.
    lookups: Share,
    answers: Answers,
}

/// What a key shall be allowed, and for how long.
#[derive(Clone, Debug)]
pub struct Grant {
    /// What the owner calls it.
    pub name: String,
    /// What it narrows its owner's roles to.
    pub scopes: BTreeSet<Permission>,
    /// From one minute to [`LIFE_LIMIT`].
    pub life: Duration,
}

/// A key as its owner sees it in a list. The key itself is nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    /// Names it, for revoking.
    pub id: Uuid,
    /// What the owner calls it.
    pub name: String,
    /// The first characters of the key.
    pub hint: String,
    /// What it narrows its owner's roles to, by name.
    pub scopes: Vec<String>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    pub expires_at: DateTime<Utc>,
    /// Since when it is refused.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, give or take five minutes.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Keys {
    /// Makes the store over a database whose search path is the schema.
    pub fn new(db: Database) -> Self {
        Self {
            lookups: db.half(),
            db,
            answers: Answers::new(),
        }
    }

    /// Stores a key for its owner and returns it as it appears in a list; `None` when it is stored
    /// already, whatever has become of it.
    ///
    /// # Errors
    /// [`AuthError::Scope`] when the owner may not do what the key shall,
    /// [`AuthError::NoScope`], [`AuthError::Life`], [`AuthError::Database`].
    pub async fn insert(
        &self,
        owner: &Principal,
        grant: &Grant,
        key: &ApiKey,
    ) -> Result<Option<StoredKey>, AuthError> {
        let account = check(owner, grant)?;
        let hash = key.hash();
        let insert = async {
            sqlx::query_as!(
                StoredKey,
                "insert into api_keys
                     (id, tenant_id, account_id, name, hash, hint, scopes, expires_at)
                 values ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
                 on conflict (hash) do nothing
                 returning id, name, hint, scopes, created_at, expires_at, revoked_at, last_used_at",
                Uuid::now_v7(),
                owner.tenant,
                account,
                grant.name,
                hash.as_bytes(),
                key.hint(),
                &scope_names(grant),
                grant.life.as_secs_f64(),
            )
            .fetch_optional(self.db.pool())
            .await
        };
        Ok(self.db.run("key.insert", insert).await?)
    }

    /// Makes sure that a key that was made elsewhere is stored; tells whether it was stored now.
    /// One that was revoked stays revoked.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub async fn ensure(
        &self,
        owner: &Principal,
        grant: &Grant,
        key: &ApiKey,
    ) -> Result<bool, AuthError> {
        Ok(self.insert(owner, grant, key).await?.is_some())
    }

    /// Lists an owner's keys, the newest first.
    ///
    /// # Errors
    /// [`AuthError::Database`].
    pub async fn list(&self, owner: &Principal) -> Result<Vec<StoredKey>, AuthError> {
        let account = account(owner)?;
        let select = async {
            sqlx::query_as!(
                StoredKey,
                "select id, name, hint, scopes, created_at, expires_at, revoked_at, last_used_at
                 from api_keys where tenant_id = $1 and account_id = $2 order by id desc",
                owner.tenant,
                account,
            )
            .fetch_all(self.db.pool())
            .await
        };
        Ok(self.db.run("key.list", select).await?)
    }

    /// Revokes one of an owner's keys; tells whether there was one to revoke.
    ///
    /// # Errors
    /// [`AuthError::Database`].
    pub async fn revoke(&self, owner: &Principal, id: Uuid) -> Result<bool, AuthError> {
        let account = account(owner)?;
        let update = async {
            sqlx::query!(
                "update api_keys set revoked_at = now()
                 where id = $1 and tenant_id = $2 and account_id = $3 and revoked_at is null",
                id,
                owner.tenant,
                account,
            )
            .execute(self.db.pool())
            .await
        };
        let done = self.db.run("key.revoke", update).await?;
        // The other processes hear of it from the database, as does this one; it need not wait.
        self.answers.forget();
        Ok(done.rows_affected() == 1)
    }

    /// Returns on whose behalf a key acts.
    ///
    /// # Errors
    /// [`AuthError::Invalid`] when it is unknown or revoked or its owner is disabled,
    /// [`AuthError::Expired`], [`AuthError::Database`].
    pub async fn find_by_hash(&self, hash: KeyHash) -> Result<Arc<Principal>, AuthError> {
        let ask = || self.clone().ask(hash);
        let answer = self.answers.get_or_ask(hash, ask).await;
        let answer = answer.map_err(AuthError::Database)?;
        let known = answer.ok_or(Refusal::KeyUnknown)?;
        if known.expires_at <= Utc::now() {
            return Err(AuthError::Expired);
        }
        Ok(Arc::clone(&known.principal))
    }

    /// Follows the changes that other processes make, until told to stop. Without it a change is
    /// seen within thirty seconds.
    pub async fn follow(self, stop: impl Future<Output = ()> + Send) {
        let listen = async {
            loop {
                let Err(error) = self.listen().await;
                let error = chain(&error);
                tracing::warn!(error, "changes of accounts and keys are not heard");
                time::sleep(REOPEN_AFTER).await;
            }
        };
        tokio::select! {
            () = stop => {}
            () = listen => {}
        }
    }

    async fn listen(&self) -> Result<Infallible, AuthError> {
        let mut listener = self.db.listen(CHANNEL).await?;
        loop {
            // What happened while nobody listened, then each change. A lost connection (`None`)
            // counts as one: it may have hidden some.
            self.answers.forget();
            listener.try_recv().await.map_err(DatabaseError::from)?;
        }
    }

    async fn ask(self, hash: KeyHash) -> Result<Answer, DatabaseError> {
        let select = async {
            sqlx::query!(
                r#"select k.id, k.tenant_id, k.scopes, k.expires_at, a.id as account_id, a.roles,
                       k.last_used_at is null or k.last_used_at < now() - interval '1 minute'
                           as "unnoted!"
                   from api_keys k join accounts a on a.id = k.account_id
                   where k.hash = $1 and k.revoked_at is null and a.disabled_at is null"#,
                hash.as_bytes(),
            )
            .fetch_optional(self.db.pool())
            .await
        };
        let row = self.lookups.run("key.find", select).await?;
        if let Some(row) = row.as_ref().filter(|row| row.unnoted) {
            self.note_use(row.id).await;
        }
        Ok(row.and_then(|row| {
            let subject = row.account_id.to_string();
            let principal =
                Principal::from_parts(&subject, &row.tenant_id, &row.roles, &row.scopes)?;
            // No scope means no limit to `from_parts`; the table refuses such a row.
            principal.scopes.is_some().then(|| {
                Arc::new(Known {
                    principal: Arc::new(principal),
                    expires_at: row.expires_at,
                })
            })
        }))
    }

    /// A note for the owner. A key works without it.
    async fn note_use(&self, id: Uuid) {
        let update = async {
            sqlx::query!("update api_keys set last_used_at = now() where id = $1", id)
                .execute(self.db.pool())
                .await
        };
        if let Err(error) = self.lookups.run("key.note_use", update).await {
            let error = chain(&error);
            tracing::warn!(key.id = %id, error, "use of a key not noted");
        }
    }
}

/// A key never does what its owner may not: not when it is made, and, as every use goes through
/// the owner's roles again, not later either.
fn check(owner: &Principal, grant: &Grant) -> Result<Uuid, AuthError> {
    if grant.scopes.is_empty() {
        return Err(AuthError::NoScope);
    }
    if let Some(scope) = grant.scopes.iter().find(|scope| !owner.may(**scope)) {
        return Err(AuthError::Scope(*scope));
    }
    if grant.life < SHORTEST_LIFE || grant.life > LIFE_LIMIT {
        return Err(AuthError::Life { limit: LIFE_LIMIT });
    }
    account(owner)
}

fn account(owner: &Principal) -> Result<Uuid, AuthError> {
    let id = Uuid::try_parse(&owner.subject);
    id.map_err(|_| Refusal::Principal.into())
}

fn scope_names(grant: &Grant) -> Vec<String> {
    grant.scopes.iter().map(Permission::to_string).collect()
}
