//! Settings of automation-agent.

use std::path::PathBuf;

use sutazai_auth::Identity;
use sutazai_mesh::catalog::ServiceName;
use sutazai_runtime::{
    config::{Base, Configured, Reader},
    entry::Need,
};

use crate::policy::Policy;

/// Everything that automation-agent is told from outside.
#[derive(Debug)]
pub struct Config {
    pub(crate) base: Base,
    pub(crate) service_key_file: PathBuf,
    pub(crate) jwks_file: PathBuf,
    /// Tasks that run at once.
    pub(crate) slots: u16,
    pub(crate) policy: Policy,
}

impl Configured for Config {
    const SERVICE: ServiceName = ServiceName::AutomationAgent;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base = Base::read(reader, Self::SERVICE);
        let service_key_file = reader.required(
            "SERVICE_KEY_FILE",
            "private key of this service, a PEM file of mode 0600",
        );
        let jwks_file = reader.required(
            "JWKS_FILE",
            "public keys of all services and of users' tokens",
        );
        let slots = reader.within("AGENT_SLOTS", "tasks that run at once", 2, 1..=256);
        let network = reader.or(
            "PLAN_NETWORK",
            "`true` lets plans fetch from the network by curl and wget",
            false,
        );
        Some(Self {
            base: base?,
            service_key_file: service_key_file?,
            jwks_file: jwks_file?,
            slots,
            policy: Policy { network },
        })
    }

    fn needs(&self) -> Vec<Need> {
        let (key_file, jwks_file) = (self.service_key_file.clone(), self.jwks_file.clone());
        vec![Need::new("keys", async move {
            Identity::check(Self::SERVICE, &key_file, &jwks_file)
        })]
    }
}

#[cfg(test)]
mod tests {
    use sutazai_runtime::config::{Source, load};

    use super::*;

    #[test]
    fn agt_04_plans_have_no_network_unless_it_is_granted() {
        let keys = [
            ("SERVICE_KEY_FILE", "/keys/own.pem"),
            ("JWKS_FILE", "/keys/jwks.json"),
        ];
        let read = |more: &[(&str, &str)]| {
            let pairs = keys.iter().chain(more);
            let pairs = pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            load::<Config>(&Source::from_pairs(pairs))
                .unwrap()
                .config
                .policy
        };
        assert!(!read(&[]).network);
        assert!(read(&[("PLAN_NETWORK", "true")]).network);
    }
}
