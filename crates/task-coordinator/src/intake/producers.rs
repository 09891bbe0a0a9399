//! Who a producer outside the platform is.

use std::{collections::BTreeMap, fmt, str::FromStr};

use sutazai_auth::{Principal, Role};

/// Says on whose behalf submissions run.
#[derive(Clone, Debug)]
pub(crate) struct Producers {
    /// Subject of those whom the broker did not name.
    pub(crate) unnamed: String,
    /// Tenant of those whom [`Producers::tenants`] does not name.
    pub(crate) tenant: String,
    /// Tenants of users of the broker.
    pub(crate) tenants: TenantOf,
}

/// Tenants by login name; written `name=tenant,name=tenant`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TenantOf(BTreeMap<String, String>);

/// The text is no list of pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be pairs like `shop=tenant-1,crm=tenant-2`, each name once")]
pub(crate) struct InvalidTenants;

impl Producers {
    /// Returns the principal of a user whom the broker validated, or of nobody in particular.
    ///
    /// `None` when the name can be no subject.
    pub(crate) fn principal(&self, user: Option<&str>) -> Option<Principal> {
        let (subject, tenant) = match user {
            None => (self.unnamed.clone(), &self.tenant),
            Some(user) => {
                let tenant = self.tenants.0.get(user).unwrap_or(&self.tenant);
                (format!("amqp:{user}"), tenant)
            }
        };
        Principal::from_parts(&subject, tenant, &[Role::User.to_string()], &[])
    }
}

impl FromStr for TenantOf {
    type Err = InvalidTenants;

    fn from_str(text: &str) -> Result<Self, InvalidTenants> {
        let mut tenants = BTreeMap::new();
        for pair in text.split(',').filter(|pair| !pair.trim().is_empty()) {
            let (user, tenant) = pair.trim().split_once('=').ok_or(InvalidTenants)?;
            let fits = !user.is_empty() && !tenant.is_empty();
            if !fits || tenants.insert(user.to_owned(), tenant.to_owned()).is_some() {
                return Err(InvalidTenants);
            }
        }
        Ok(Self(tenants))
    }
}

impl fmt::Display for TenantOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs = self
            .0
            .iter()
            .map(|(user, tenant)| format!("{user}={tenant}"));
        f.write_str(&pairs.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use sutazai_auth::Permission;

    use super::*;

    fn producers() -> Producers {
        Producers {
            unnamed: "amqp".to_owned(),
            tenant: "default".to_owned(),
            tenants: "shop=tenant-1, crm=tenant-2".parse().unwrap(),
        }
    }

    #[test]
    fn sec_05_a_producer_is_who_the_broker_says_and_no_operator() {
        for (user, subject, tenant) in [
            (None, "amqp", "default"),
            (Some("shop"), "amqp:shop", "tenant-1"),
            (Some("crm"), "amqp:crm", "tenant-2"),
            (Some("other"), "amqp:other", "default"),
        ] {
            let principal = producers().principal(user).unwrap();
            assert_eq!(
                (principal.subject.as_str(), principal.tenant.as_str()),
                (subject, tenant)
            );
            assert!(principal.may(Permission::TasksWrite));
            assert!(!principal.may(Permission::TasksOperate));
        }
        let long = "x".repeat(200);
        for user in ["a b", "ä", long.as_str()] {
            assert_eq!(producers().principal(Some(user)), None, "{user}");
        }
    }

    #[test]
    fn the_list_of_tenants_is_read_whole_or_not_at_all() {
        let tenants = producers().tenants;
        assert_eq!(tenants.to_string().parse(), Ok(tenants));
        assert_eq!("".parse(), Ok(TenantOf::default()));
        for wrong in ["shop", "shop=", "=t", "a=1,a=2"] {
            assert_eq!(wrong.parse::<TenantOf>(), Err(InvalidTenants), "{wrong}");
        }
    }
}
