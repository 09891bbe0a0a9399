//! What can be allowed, and which role allows it: the one policy table.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::principal::Role;

/// One thing that a principal may or may not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Ask a model in a conversation.
    ChatUse,
    /// Read one's conversations.
    ConversationsRead,
    /// Change and delete one's conversations.
    ConversationsWrite,
    /// See which models there are.
    ModelsRead,
    /// Ask a model directly, in the native dialect.
    InferenceUse,
    /// See tasks and their events.
    TasksRead,
    /// Submit and cancel tasks.
    TasksWrite,
    /// See what no queue and no worker could use, of all tenants, and send it again.
    TasksOperate,
    /// See which agents there are.
    AgentsRead,
    /// Make, list and revoke one's API keys.
    KeysManage,
    /// See the state of the platform itself.
    SystemRead,
    /// Change how the platform behaves.
    SystemManage,
}

/// One row of the policy: the permission, its name on the wire, the roles that include it.
type Row = (Permission, &'static str, &'static [Role]);

const ADMIN: &[Role] = &[Role::Admin];
const USER: &[Role] = &[Role::Admin, Role::User];
const VIEWER: &[Role] = &[Role::Admin, Role::User, Role::Viewer];

/// The whole policy. What is not listed is denied.
#[rustfmt::skip]
const POLICY: [Row; 12] = [
    (Permission::ChatUse,            "chat:use",            USER),
    (Permission::ConversationsRead,  "conversations:read",  VIEWER),
    (Permission::ConversationsWrite, "conversations:write", USER),
    (Permission::ModelsRead,         "models:read",         VIEWER),
    (Permission::InferenceUse,       "inference:use",       USER),
    (Permission::TasksRead,          "tasks:read",          VIEWER),
    (Permission::TasksWrite,         "tasks:write",         USER),
    (Permission::TasksOperate,       "tasks:operate",       ADMIN),
    (Permission::AgentsRead,         "agents:read",         VIEWER),
    (Permission::KeysManage,         "keys:manage",         USER),
    (Permission::SystemRead,         "system:read",         ADMIN),
    (Permission::SystemManage,       "system:manage",       ADMIN),
];

impl Permission {
    /// All permissions, in the order of the policy.
    pub const ALL: [Self; POLICY.len()] = {
        let mut all = [Self::ChatUse; POLICY.len()];
        let mut row = 0;
        while row < POLICY.len() {
            all[row] = POLICY[row].0;
            row += 1;
        }
        all
    };

    /// Returns the stable name, for example `tasks:read`.
    pub fn as_str(self) -> &'static str {
        self.row().map_or("", |(_, name, _)| name)
    }

    /// Tells whether a role includes this permission.
    pub fn is_granted_by(self, role: Role) -> bool {
        self.row()
            .is_some_and(|(_, _, roles)| roles.contains(&role))
    }

    fn row(self) -> Option<&'static Row> {
        POLICY.iter().find(|(permission, _, _)| *permission == self)
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no [`Permission`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown permission")]
pub struct UnknownPermission;

impl FromStr for Permission {
    type Err = UnknownPermission;

    fn from_str(name: &str) -> Result<Self, UnknownPermission> {
        POLICY
            .iter()
            .find(|(_, known, _)| *known == name)
            .map(|(permission, _, _)| *permission)
            .ok_or(UnknownPermission)
    }
}

impl Serialize for Permission {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn sec_05_every_permission_has_one_row_and_survives_its_name() {
        for permission in Permission::ALL {
            assert_eq!(permission.as_str().parse(), Ok(permission));
            assert!(
                permission.is_granted_by(Role::Admin),
                "{permission} is nobody's"
            );
        }
        assert_eq!(BTreeSet::from(Permission::ALL).len(), POLICY.len());
        assert_eq!("tasks:readx".parse::<Permission>(), Err(UnknownPermission));
    }

    #[test]
    fn sec_05_a_viewer_changes_nothing() {
        for permission in Permission::ALL {
            let changes = !permission.as_str().ends_with(":read");
            assert!(
                !(changes && permission.is_granted_by(Role::Viewer)),
                "{permission}"
            );
        }
    }

    #[test]
    fn sec_05_a_wider_role_includes_the_narrower_one() {
        for permission in Permission::ALL {
            let [admin, user, viewer] = Role::ALL.map(|role| permission.is_granted_by(role));
            assert!(admin >= user && user >= viewer, "{permission}");
        }
    }
}
