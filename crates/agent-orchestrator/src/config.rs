//! Settings of agent-orchestrator.

use std::path::PathBuf;

use sutazai_auth::Identity;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::postgres;
use sutazai_runtime::{
    config::{Base, Configured, Reader, database},
    entry::Need,
};

use crate::store::{MIGRATOR, SCHEMA};

/// Everything that agent-orchestrator is told from outside.
#[derive(Debug)]
pub struct Config {
    pub(crate) base: Base,
    pub(crate) database: postgres::Settings,
    pub(crate) service_key_file: PathBuf,
    pub(crate) jwks_file: PathBuf,
    /// Tasks that run at once.
    pub(crate) slots: u16,
}

impl Configured for Config {
    const SERVICE: ServiceName = ServiceName::AgentOrchestrator;
    const USES_CACHE: bool = true;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let base = Base::read(reader, Self::SERVICE);
        let database = database(reader, Self::SERVICE, SCHEMA);
        let service_key_file = reader.required(
            "SERVICE_KEY_FILE",
            "private key of this service, a PEM file of mode 0600",
        );
        let jwks_file = reader.required(
            "JWKS_FILE",
            "public keys of all services and of users' tokens",
        );
        let slots = reader.within("AGENT_SLOTS", "tasks that run at once", 8, 1..=256);
        Some(Self {
            base: base?,
            database: database?,
            service_key_file: service_key_file?,
            jwks_file: jwks_file?,
            slots,
        })
    }

    fn needs(&self) -> Vec<Need> {
        let (key_file, jwks_file) = (self.service_key_file.clone(), self.jwks_file.clone());
        vec![
            Need::database(&self.database, &MIGRATOR),
            Need::new("keys", async move {
                Identity::check(Self::SERVICE, &key_file, &jwks_file)
            }),
        ]
    }
}
