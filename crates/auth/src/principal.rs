//! On whose behalf something happens.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{error::AuthError, permission::Permission};

/// Tenant of everybody until there is a second one.
pub const DEFAULT_TENANT: &str = "default";
/// Longest subject or tenant name, in bytes.
const NAME_LIMIT: usize = 128;
/// On the wire an empty list of scopes means "no limit", so a list that allows nothing needs a word.
/// It names no permission: whoever reads it refuses the principal.
const NO_SCOPE: &str = "none";

/// A set of permissions that an account can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Everything of one's own.
    User,
    /// Reading only.
    Viewer,
}

/// Who a request is for and what they may do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// Id of the account.
    pub subject: String,
    /// Tenant the account belongs to; every row and message carries it.
    pub tenant: String,
    /// Roles of the account.
    pub roles: Vec<Role>,
    /// What the credential narrows the roles to; `None` narrows nothing.
    pub scopes: Option<BTreeSet<Permission>>,
}

impl Role {
    /// All roles, the widest first.
    pub const ALL: [Self; 3] = [Self::Admin, Self::User, Self::Viewer];

    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Viewer => "viewer",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no [`Role`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown role")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(name: &str) -> Result<Self, UnknownRole> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == name)
            .ok_or(UnknownRole)
    }
}

impl Principal {
    /// Reads a principal from the text parts of a message or a row.
    ///
    /// An empty `scopes` narrows nothing. A name that is unknown refuses the whole principal: it
    /// may have been meant to narrow.
    pub fn from_parts(
        subject: &str,
        tenant: &str,
        roles: &[String],
        scopes: &[String],
    ) -> Option<Self> {
        let roles = roles
            .iter()
            .map(|role| role.parse().ok())
            .collect::<Option<_>>()?;
        let scopes = scopes
            .iter()
            .map(|scope| scope.parse().ok())
            .collect::<Option<BTreeSet<_>>>()?;
        let principal = Self {
            subject: subject.to_owned(),
            tenant: tenant.to_owned(),
            roles,
            scopes: Some(scopes).filter(|scopes| !scopes.is_empty()),
        };
        principal.is_well_formed().then_some(principal)
    }

    /// Tells whether both a role and the scopes allow it.
    pub fn may(&self, permission: Permission) -> bool {
        let in_scope = self
            .scopes
            .as_ref()
            .is_none_or(|scopes| scopes.contains(&permission));
        in_scope
            && self
                .roles
                .iter()
                .any(|role| permission.is_granted_by(*role))
    }

    /// Refuses what [`may`](Self::may) does not allow.
    ///
    /// # Errors
    /// [`AuthError::Permission`] names what is missing.
    pub fn require(&self, permission: Permission) -> Result<(), AuthError> {
        if self.may(permission) {
            Ok(())
        } else {
            Err(AuthError::Permission(permission))
        }
    }

    /// Returns the roles by name, for messages and rows.
    pub fn role_names(&self) -> Vec<String> {
        self.roles.iter().map(Role::to_string).collect()
    }

    /// Returns the scopes by name, for messages and rows; empty when nothing is narrowed.
    pub fn scope_names(&self) -> Vec<String> {
        match &self.scopes {
            None => Vec::new(),
            Some(scopes) if scopes.is_empty() => vec![NO_SCOPE.to_owned()],
            Some(scopes) => scopes.iter().map(Permission::to_string).collect(),
        }
    }

    /// Tells whether subject and tenant can be names.
    pub(crate) fn is_well_formed(&self) -> bool {
        [&self.subject, &self.tenant].into_iter().all(|name| {
            (1..=NAME_LIMIT).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn principal(roles: &[Role], scopes: Option<&[Permission]>) -> Principal {
        Principal {
            subject: "alice".into(),
            tenant: DEFAULT_TENANT.into(),
            roles: roles.to_vec(),
            scopes: scopes.map(|scopes| scopes.iter().copied().collect()),
        }
    }

    fn through_the_wire(p: &Principal) -> Option<Principal> {
        Principal::from_parts(&p.subject, &p.tenant, &p.role_names(), &p.scope_names())
    }

    #[test]
    fn sec_05_scopes_narrow_and_never_widen() {
        for role in Role::ALL {
            for scope in Permission::ALL {
                let narrowed = principal(&[role], Some(&[scope]));
                for permission in Permission::ALL {
                    let expected = permission == scope && permission.is_granted_by(role);
                    assert_eq!(
                        narrowed.may(permission),
                        expected,
                        "{role} {scope} {permission}"
                    );
                    assert_eq!(narrowed.require(permission).is_ok(), expected);
                }
            }
        }
    }

    #[test]
    fn a_principal_survives_the_wire() {
        for p in [
            principal(&[Role::Admin, Role::Viewer], None),
            principal(
                &[Role::User],
                Some(&[Permission::TasksRead, Permission::ChatUse]),
            ),
            principal(&[], None),
        ] {
            assert_eq!(through_the_wire(&p), Some(p));
        }
    }

    #[test]
    fn no_scope_at_all_does_not_become_every_scope_on_the_wire() {
        assert_eq!(
            through_the_wire(&principal(&[Role::Admin], Some(&[]))),
            None
        );
    }

    #[test]
    fn what_can_be_no_principal_is_refused() {
        let long = "x".repeat(NAME_LIMIT + 1);
        for (subject, tenant, role, scope) in [
            ("", "t", "user", "tasks:read"),
            ("s", "", "user", "tasks:read"),
            ("s\n", "t", "user", "tasks:read"),
            (long.as_str(), "t", "user", "tasks:read"),
            ("s", "t", "root", "tasks:read"),
            ("s", "t", "user", "tasks:*"),
        ] {
            let parsed = Principal::from_parts(subject, tenant, &[role.into()], &[scope.into()]);
            assert_eq!(parsed, None, "{subject:?} {tenant:?} {role} {scope}");
        }
    }
}
