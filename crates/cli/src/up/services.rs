//! The services as processes: one program, told by its environment what it is part of.

use std::{path::PathBuf, time::Duration};

use sutazai_mesh::catalog::ServiceName;
use sutazai_servers::process;

use super::{Error, plan::Plan, ports::Ports, servers::Servers};
use crate::{
    configuration::SERVICES,
    enroll,
    site::{self, Settings},
};

/// Longest time from SIGTERM to the end of a service: leaving the registry, the pause, the drain
/// and its last quarter.
const GRACE: Duration = Duration::from_secs(16);

/// One process of a service.
#[derive(Clone, Debug)]
pub(super) struct Instance {
    pub(super) service: ServiceName,
    /// The service's own name for the first, with a number for the others.
    pub(super) name: String,
}

/// What the services are started with.
pub(super) struct Services<'a> {
    pub(super) settings: Settings<'a>,
    pub(super) servers: &'a Servers,
    pub(super) ports: &'a Ports,
    pub(super) replicas: u16,
}

impl Services<'_> {
    /// Returns how each instance is started, with its name.
    ///
    /// No service is told where another one is: they find each other through Consul.
    pub(super) fn plans(&self) -> Result<Vec<(Instance, Plan)>, Error> {
        let program = std::env::current_exe().map_err(site::Error::Secrets)?;
        let instances = SERVICES
            .into_iter()
            .flat_map(|service| (0..self.replicas).map(move |replica| (service, replica)));
        let plan = |(service, replica): (ServiceName, u16)| {
            let name = instance_name(service, replica);
            let plan = Plan::Service(process::Options {
                name: name.clone(),
                program: program.clone(),
                arguments: vec!["serve".to_owned(), service.to_string()],
                environment: self.environment(service, replica),
                log: self.log(&name),
                grace: GRACE,
            });
            (Instance { service, name }, plan)
        };
        Ok(instances.map(plan).collect())
    }

    /// Returns the log of an instance.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        let folder = &self.servers.description.logs;
        folder.join(format!("{name}.log"))
    }

    fn environment(&self, service: ServiceName, replica: u16) -> Vec<(&'static str, String)> {
        let mut environment = self.settings.of(service, self.ports.of(service, replica));
        let text = |file: &PathBuf| file.display().to_string();
        let token = enroll::token_file(&self.servers.registry.secrets, service.as_str());
        environment.extend([
            ("CONSUL_HTTP_ADDR", self.servers.description.consul.clone()),
            // An empty value is none: what the caller's own environment says does not count.
            ("CONSUL_HTTP_TOKEN", String::new()),
            ("CONSUL_HTTP_TOKEN_FILE", text(&token)),
            ("AMQP_URL", String::new()),
            ("RABBITMQ_URL", String::new()),
            ("AMQP_URL_FILE", text(&self.servers.amqp_url_file)),
            ("REDIS_URL", String::new()),
            ("REDIS_URL_FILE", text(&self.servers.redis_url_file)),
        ]);
        environment
    }
}

/// Names an instance: the first by its service alone.
fn instance_name(service: ServiceName, replica: u16) -> String {
    match replica {
        0 => service.to_string(),
        _ => format!("{service}-{}", replica + 1),
    }
}
