//! Settings of the task coordinator.

use std::{path::PathBuf, time::Duration};

use sutazai_auth::{Identity, principal::DEFAULT_TENANT};
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::postgres;
use sutazai_runtime::{
    config::{Base, Configured, Reader, database},
    entry::Need,
};

use crate::intake::Producers;
use crate::store::{Ages, MIGRATOR, Rules, SCHEMA};

const DAY: Duration = Duration::from_secs(86_400);

/// Everything that the task coordinator is told from outside.
#[derive(Debug)]
pub struct Config {
    pub(crate) base: Base,
    pub(crate) database: postgres::Settings,
    pub(crate) service_key_file: PathBuf,
    pub(crate) jwks_file: PathBuf,
    pub(crate) rules: Rules,
    pub(crate) ages: Ages,
    pub(crate) producers: Producers,
}

impl Configured for Config {
    const SERVICE: ServiceName = ServiceName::TaskCoordinator;

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
        let rules = rules(reader);
        let ages = ages(reader);
        let producers = producers(reader);
        Some(Self {
            base: base?,
            database: database?,
            service_key_file: service_key_file?,
            jwks_file: jwks_file?,
            rules,
            ages,
            producers,
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

fn rules(reader: &mut Reader<'_>) -> Rules {
    let defaults = Rules::default();
    // Workers renew every second, or every five after a failure.
    let lease = reader.within(
        "TASK_LEASE_SECONDS",
        "how long a worker may keep silent before its tasks are taken away",
        defaults.lease.as_secs(),
        2..=600,
    );
    let schedule_to_start = reader.within(
        "TASK_SCHEDULE_TO_START_SECONDS",
        "how long a released task may wait for a worker before it is released again",
        defaults.schedule_to_start.as_secs(),
        5..=3600,
    );
    Rules {
        lease: Duration::from_secs(lease),
        schedule_to_start: Duration::from_secs(schedule_to_start),
        ..defaults
    }
}

fn ages(reader: &mut Reader<'_>) -> Ages {
    let tasks = reader.within(
        "TASK_RETENTION_DAYS",
        "days that a task is kept after its end, with its events",
        30,
        1..=3650_u32,
    );
    let keys = reader.within(
        "IDEMPOTENCY_KEY_DAYS",
        "days that a repeated request with the same key is recognised",
        7,
        1..=365_u32,
    );
    Ages {
        tasks: DAY * tasks,
        keys: DAY * keys,
    }
}

fn producers(reader: &mut Reader<'_>) -> Producers {
    let unnamed = reader.or(
        "INTAKE_PRINCIPAL",
        "on whose behalf tasks of the broker's producers run that send no validated user-id",
        "amqp".to_owned(),
    );
    let tenant = reader.or(
        "INTAKE_TENANT",
        "tenant of the broker's producers",
        DEFAULT_TENANT.to_owned(),
    );
    let tenants = reader.optional(
        "INTAKE_TENANTS",
        "tenants of some users of the broker, like `shop=tenant-1,crm=tenant-2`",
    );
    let producers = Producers {
        unnamed,
        tenant,
        tenants: tenants.unwrap_or_default(),
    };
    if producers.principal(None).is_none() {
        let rule = "with INTAKE_TENANT must be a name of visible ASCII characters";
        reader.fault("INTAKE_PRINCIPAL", rule);
    }
    producers
}

#[cfg(test)]
mod tests {
    use sutazai_runtime::config::{Source, load};

    use super::*;

    fn source(pairs: &[(&str, &str)]) -> Source {
        let required = [
            ("SUTAZAI_PROFILE", "dev"),
            (
                "DATABASE_URL",
                "postgres://task_coordinator:kept-by-nobody@127.0.0.1/sutazai",
            ),
            ("SERVICE_KEY_FILE", "key.pem"),
            ("JWKS_FILE", "jwks.json"),
        ];
        let pairs = required.iter().chain(pairs);
        Source::from_pairs(pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn cfg_09_the_defaults_are_the_documented_ones() {
        let config = load::<Config>(&source(&[])).unwrap().config;
        assert_eq!(config.rules.lease, Duration::from_secs(15));
        assert_eq!(config.rules.schedule_to_start, Duration::from_secs(60));
        assert_eq!((config.ages.tasks, config.ages.keys), (DAY * 30, DAY * 7));
    }

    #[test]
    fn cfg_01_all_faults_come_out_at_once() {
        let source = source(&[
            ("TASK_LEASE_SECONDS", "1"),
            ("TASK_SCHEDULE_TO_START_SECONDS", "soon"),
            ("TASK_RETENTION_DAYS", "0"),
            ("INTAKE_PRINCIPAL", "no one"),
            ("INTAKE_TENANTS", "shop"),
        ]);
        let faults = load::<Config>(&source).unwrap_err().to_string();
        for name in [
            "TASK_LEASE_SECONDS",
            "TASK_SCHEDULE_TO_START_SECONDS",
            "TASK_RETENTION_DAYS",
            "INTAKE_PRINCIPAL",
            "INTAKE_TENANTS",
        ] {
            assert!(faults.contains(name), "{faults}");
        }
    }
}
