//! Who there is.

use secrecy::SecretString;
use sutazai_persistence::Database;
use sutazai_proto::status::chain;
use uuid::{Uuid, uuid};

use crate::{
    error::AuthError,
    password::{Hasher, Verdict},
    principal::{DEFAULT_TENANT, Principal, Role},
};

/// Name of the first account.
pub const ADMIN: &str = "admin";
/// Id of the first account. It is the same in every installation, so that who holds the users' key
/// can make a token for the administrator without asking the database.
pub const ADMIN_ID: Uuid = uuid!("00000000-0000-7000-8000-000000000001");

/// The accounts and their passwords.
#[derive(Clone, Debug)]
pub struct Accounts {
    db: Database,
    hasher: Hasher,
}

/// Somebody who can log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The subject of its tokens.
    pub id: Uuid,
    /// The tenant it belongs to.
    pub tenant: String,
    /// The name it logs in with.
    pub name: String,
    /// What it may do.
    pub roles: Vec<Role>,
    /// Whether it is shut out.
    pub disabled: bool,
}

/// An account as its table holds it.
struct Row {
    id: Uuid,
    tenant_id: String,
    name: String,
    password_hash: String,
    roles: Vec<String>,
    disabled: bool,
}

impl Account {
    /// Returns the account as the one that something is done for.
    pub fn principal(&self) -> Principal {
        Principal {
            subject: self.id.to_string(),
            tenant: self.tenant.clone(),
            roles: self.roles.clone(),
            scopes: None,
        }
    }
}

impl Row {
    /// A role that this version does not know grants nothing.
    fn account(self) -> Account {
        Account {
            id: self.id,
            tenant: self.tenant_id,
            name: self.name,
            roles: self
                .roles
                .iter()
                .filter_map(|role| role.parse().ok())
                .collect(),
            disabled: self.disabled,
        }
    }
}

impl Accounts {
    /// Makes the store over a database whose search path is the schema.
    pub fn new(db: Database) -> Self {
        Self {
            db,
            hasher: Hasher::default(),
        }
    }

    /// Returns the account of a name.
    ///
    /// # Errors
    /// [`AuthError::Database`].
    pub async fn find_by_name(&self, name: &str) -> Result<Option<Account>, AuthError> {
        Ok(self.row(name).await?.map(Row::account))
    }

    /// Returns the first account, and makes it with this password when it is not there yet; a
    /// password that has been changed since stays.
    ///
    /// # Errors
    /// [`AuthError::Password`] for a weak password, [`AuthError::Database`].
    pub async fn ensure_admin(&self, password: &SecretString) -> Result<Account, AuthError> {
        if let Some(admin) = self.find_by_name(ADMIN).await? {
            return Ok(admin);
        }
        let hash = self.hasher.hash(password).await?;
        let roles = [Role::Admin.to_string()];
        // Two replicas may start at once: the second one finds the first one's row.
        let row = self.db.run("account.ensure", async {
            sqlx::query!(
                "insert into accounts (id, tenant_id, name, password_hash, roles)
                 values ($1, $2, $3, $4, $5)
                 on conflict (name) do nothing",
                ADMIN_ID,
                DEFAULT_TENANT,
                ADMIN,
                hash,
                &roles,
            )
            .execute(self.db.pool())
            .await?;
            select(&self.db, ADMIN)
                .await?
                .ok_or(sqlx::Error::RowNotFound)
        });
        Ok(row.await?.account())
    }

    /// Returns on whose behalf a login acts. An unknown name costs the same work as a known one
    /// and gets the same answer.
    ///
    /// # Errors
    /// [`AuthError::Login`] when name and password do not belong together or the account is
    /// disabled, [`AuthError::Password`] when too many log in at once, [`AuthError::Database`].
    pub async fn login(&self, name: &str, password: &SecretString) -> Result<Principal, AuthError> {
        let row = self.row(name).await?;
        let stored = row.as_ref().map(|row| row.password_hash.clone());
        let verdict = self.hasher.verify(password, stored).await?;
        let Some(row) = row.filter(|row| verdict != Verdict::Wrong && !row.disabled) else {
            return Err(AuthError::Login);
        };
        if verdict == Verdict::Outdated
            && let Err(error) = self.rehash(&row, password).await
        {
            // The login itself is good; the next one tries again.
            let error = chain(&error);
            tracing::warn!(account.id = %row.id, error, "outdated password hash stays");
        }
        Ok(row.account().principal())
    }

    async fn row(&self, name: &str) -> Result<Option<Row>, AuthError> {
        // Postgres has no NUL in its texts: such a name is nobody's.
        if name.contains('\0') {
            return Ok(None);
        }
        Ok(self.db.run("account.find", select(&self.db, name)).await?)
    }

    async fn rehash(&self, row: &Row, password: &SecretString) -> Result<(), AuthError> {
        let hash = self.hasher.hash(password).await?;
        let update = async {
            // Not over a password that has been changed in between.
            sqlx::query!(
                "update accounts set password_hash = $3, updated_at = now()
                 where id = $1 and password_hash = $2",
                row.id,
                row.password_hash,
                hash,
            )
            .execute(self.db.pool())
            .await
        };
        self.db.run("account.rehash", update).await?;
        Ok(())
    }
}

async fn select(db: &Database, name: &str) -> Result<Option<Row>, sqlx::Error> {
    sqlx::query_as!(
        Row,
        r#"select id, tenant_id, name, password_hash, roles, disabled_at is not null as "disabled!"
           from accounts where name = $1"#,
        name,
    )
    .fetch_optional(db.pool())
    .await
}
