//! Who uses the platform.

use chrono::{DateTime, Utc};
use sutazai_auth::{
    keys::SigningKey,
    principal::{Principal, Role},
    token::issue_user,
};
use uuid::Uuid;

use crate::{Client, Stage};

impl Stage {
    /// Returns a client of somebody with a tenant of their own, which is empty.
    pub fn newcomer(&self) -> Client {
        self.client_of(&newcomer())
    }

    /// Returns a client with a token for a principal.
    pub fn client_of(&self, principal: &Principal) -> Client {
        let token = self.token(principal, Utc::now());
        self.stranger().with_credential(Some(&token))
    }

    /// Signs a user's token, as the platform did at the given time.
    pub fn token(&self, principal: &Principal, at: DateTime<Utc>) -> String {
        let path = self.description().keys.join("users.pem");
        let pem = std::fs::read_to_string(path).expect("the key of users' tokens");
        let key = SigningKey::from_pem(&pem).expect("the key of users' tokens");
        issue_user(&key, principal, at).expect("a token").token
    }
}

/// Makes somebody whom the platform has never seen, in a tenant that it has never seen.
pub fn newcomer() -> Principal {
    Principal {
        subject: Uuid::new_v4().to_string(),
        tenant: format!("tenant-{}", Uuid::new_v4()),
        roles: vec![Role::User],
        scopes: None,
    }
}
