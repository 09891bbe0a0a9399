//! What `/api/v1/auth` reads and writes.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sutazai_auth::{
    Permission, Principal,
    api_key::ApiKey,
    store::{ADMIN, DEFAULT_LIFE, Grant, LIFE_LIMIT, StoredKey},
    token::Issued,
};
use utoipa::ToSchema;

use crate::http::input::InputError;

const DAY: u64 = 24 * 60 * 60;
/// Longest account name and password in bytes.
const MAX_TEXT: usize = 256;
/// Longest name of a key in characters.
const MAX_NAME: usize = 100;

/// A name and its password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "username": "admin", "password": "the password" }))]
pub(crate) struct Login {
    /// Name of the account; the administrator's by default.
    username: Option<String>,
    #[schema(value_type = String, format = "password")]
    password: SecretString,
}

/// A token (RFC 6749, 5.1).
#[derive(Serialize, ToSchema)]
pub(crate) struct LoggedIn {
    /// For `Authorization: Bearer`.
    access_token: String,
    /// Always `Bearer`.
    token_type: &'static str,
    /// Seconds until it is refused.
    expires_in: i64,
}

/// The principal of a credential.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// Id of the account.
    subject: String,
    tenant: String,
    roles: Vec<String>,
    /// What the credential narrows the roles to; null narrows nothing.
    scopes: Option<Vec<String>>,
    /// What the credential allows in the end.
    permissions: Vec<&'static str>,
}

/// An API key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ci", "scopes": ["tasks:read", "tasks:write"] }))]
pub(crate) struct NewKey {
    /// What the key is for; 1 to 100 characters.
    name: String,
    /// What the key may do; everything that the caller may do by default.
    #[schema(value_type = Option<Vec<String>>)]
    scopes: Option<BTreeSet<Permission>>,
    /// Days until it expires; 90 by default.
    #[schema(minimum = 1, maximum = 366)]
    expires_in_days: Option<u32>,
}

/// An API key in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyItem {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// First characters of the key.
    hint: String,
    /// What it may do, unless its owner may not.
    scopes: Vec<String>,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    /// Since when it is refused; null while it is good.
    revoked_at: Option<DateTime<Utc>>,
    /// When it was used last, give or take five minutes; null when it never was.
    last_used_at: Option<DateTime<Utc>>,
}

/// An API key just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    /// The key itself. It is shown this once.
    key: String,
    #[serde(flatten)]
    stored: KeyItem,
}

impl Login {
    pub(super) fn read(self) -> Result<(String, SecretString), InputError> {
        let name = self.username.unwrap_or_else(|| ADMIN.to_owned());
        let fits = |text: &str| (1..=MAX_TEXT).contains(&text.len());
        let rule = format!("1 to {MAX_TEXT} bytes");
        if !fits(&name) {
            return Err(InputError::invalid("/username", rule));
        }
        if !fits(secrecy::ExposeSecret::expose_secret(&self.password)) {
            return Err(InputError::invalid("/password", rule));
        }
        Ok((name, self.password))
    }
}

impl LoggedIn {
    pub(super) fn of(issued: Issued, now: DateTime<Utc>) -> Self {
        Self {
            access_token: issued.token,
            token_type: "Bearer",
            expires_in: (issued.expires_at - now).num_seconds(),
        }
    }
}

impl Me {
    pub(super) fn of(principal: &Principal) -> Self {
        let permissions = Permission::ALL
            .into_iter()
            .filter(|one| principal.may(*one));
        Self {
            subject: principal.subject.clone(),
            tenant: principal.tenant.clone(),
            roles: principal.role_names(),
            scopes: principal.scopes.as_ref().map(|_| principal.scope_names()),
            permissions: permissions.map(Permission::as_str).collect(),
        }
    }
}

impl NewKey {
    /// Checks the bounds; what the owner may not do is refused where the key is stored.
    pub(super) fn read(self, owner: &Principal) -> Result<Grant, InputError> {
        let name = self.name.trim();
        let length = name.chars().count();
        if !(1..=MAX_NAME).contains(&length) || name.contains(char::is_control) {
            return Err(InputError::invalid(
                "/name",
                format!("1 to {MAX_NAME} characters"),
            ));
        }
        let days = LIFE_LIMIT.as_secs() / DAY;
        let life = match self.expires_in_days.map(u64::from) {
            None => DEFAULT_LIFE,
            Some(asked) if (1..=days).contains(&asked) => Duration::from_secs(asked * DAY),
            Some(_) => {
                let rule = format!("between 1 and {days}");
                return Err(InputError::invalid("/expires_in_days", rule));
            }
        };
        let all = || {
            Permission::ALL
                .into_iter()
                .filter(|one| owner.may(*one))
                .collect()
        };
        Ok(Grant {
            name: name.to_owned(),
            scopes: self.scopes.unwrap_or_else(all),
            life,
        })
    }
}

impl CreatedKey {
    pub(super) fn of(key: &ApiKey, stored: StoredKey) -> Self {
        Self {
            key: key.expose().to_owned(),
            stored: stored.into(),
        }
    }
}

impl From<StoredKey> for KeyItem {
    fn from(key: StoredKey) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name,
            hint: key.hint,
            scopes: key.scopes,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sutazai_auth::Role;

    use super::*;

    fn owner() -> Principal {
        Principal {
            subject: "s".to_owned(),
            tenant: "t".to_owned(),
            roles: vec![Role::Viewer],
            scopes: None,
        }
    }

    fn grant(body: serde_json::Value) -> Result<Grant, InputError> {
        serde_json::from_value::<NewKey>(body)
            .unwrap()
            .read(&owner())
    }

    #[test]
    fn sec_06_a_key_has_its_owners_permissions_and_an_end_by_default() {
        let grant = grant(json!({ "name": " ci " })).unwrap();
        assert_eq!(grant.name, "ci");
        assert_eq!(grant.life, DEFAULT_LIFE);
        assert!(grant.scopes.contains(&Permission::TasksRead));
        assert!(!grant.scopes.contains(&Permission::TasksWrite));
    }

    #[test]
    fn sec_10_values_outside_their_bounds_are_refused() {
        for body in [
            json!({ "name": " " }),
            json!({ "name": "n".repeat(101) }),
            json!({ "name": "a\nb" }),
            json!({ "name": "n", "expires_in_days": 0 }),
            json!({ "name": "n", "expires_in_days": 367 }),
        ] {
            assert!(grant(body.clone()).is_err(), "{body}");
        }
        let unknown = json!({ "name": "n", "scopes": ["tasks:*"] });
        assert!(serde_json::from_value::<NewKey>(unknown).is_err());
    }

    #[test]
    fn what_a_credential_allows_is_told() {
        let me = Me::of(&owner());
        assert_eq!(me.scopes, None);
        assert!(me.permissions.contains(&"tasks:read"));
        assert!(!me.permissions.contains(&"chat:use"));
    }
}
