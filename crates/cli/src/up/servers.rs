//! The servers that the services stand on.

use std::path::PathBuf;

use sutazai_servers::{consul, rabbitmq, redis};

use secrecy::ExposeSecret;
use sutazai_mesh::catalog::ServiceName;

use super::{
    Error, POSTGRES,
    plan::{self, Fresh, Plan},
    ports::Ports,
    registry::Guarded,
};
use crate::{
    enroll, secret_file,
    site::{self, database, description, folder::Folder},
};

/// Login at RabbitMQ, for services and people.
const RABBITMQ_USER: &str = "sutazai";

/// How the servers are started, by name.
pub(super) struct Servers {
    pub(super) plans: [(&'static str, Plan); 4],
    pub(super) description: description::Servers,
    pub(super) registry: Guarded,
    /// Port of Consul's DNS.
    pub(super) dns: u16,
    /// File with the URL of the broker.
    pub(super) amqp_url_file: PathBuf,
    /// File with the URL of the cache.
    pub(super) redis_url_file: PathBuf,
}

impl Servers {
    /// Decides how the servers are started, and keeps their credentials.
    pub(super) fn plan(folder: &Folder, ports: &Ports) -> Result<Self, Error> {
        let (rabbitmq_password_file, rabbitmq_password) = secret(folder, "rabbitmq")?;
        let (redis_password_file, redis_password) = secret(folder, "redis")?;
        let Ports { redis, amqp, .. } = *ports;
        let amqp_url_file = url(
            folder,
            "amqp-url",
            &format!("amqp://{RABBITMQ_USER}:{rabbitmq_password}@127.0.0.1:{amqp}/%2f"),
        )?;
        let redis_url_file = url(
            folder,
            "redis-url",
            &format!("redis://:{redis_password}@127.0.0.1:{redis}/0"),
        )?;
        let [dns, grpc, server, local, wide, epmd, distribution] = ports.inner;
        let consul_ports = consul::Ports {
            http: ports.consul,
            dns,
            grpc,
            server,
            serf_lan: local,
            serf_wan: wide,
        };
        let secrets = folder.path("secrets");
        enroll::make_tokens(&secrets).map_err(site::Error::Secrets)?;
        let management = enroll::token(&enroll::token_file(&secrets, enroll::MANAGEMENT))?;
        let registry = Guarded {
            options: consul::Options {
                data: folder.path("consul"),
                ports: Some(consul_ports),
                durable: true,
                management_token: Some(management.expose_secret().to_owned()),
            },
            secrets: secrets.clone(),
        };
        let plans = [
            (
                POSTGRES,
                Plan::Postgres(database::options(folder, Some(ports.postgres))?),
            ),
            (
                "redis",
                Plan::Redis(redis::Options {
                    port: Some(redis),
                    password: Some(redis_password),
                    ..redis::Options::new(folder.path("redis"))
                }),
            ),
            (
                "rabbitmq",
                Plan::RabbitMq(rabbitmq::Options {
                    ports: rabbitmq::Ports {
                        amqp: Some(amqp),
                        management: Some(ports.management),
                        epmd: Some(epmd),
                        distribution: Some(distribution),
                        prometheus: None,
                    },
                    ..rabbitmq::Options::new(
                        folder.path("rabbitmq"),
                        RABBITMQ_USER,
                        &rabbitmq_password,
                    )
                }),
            ),
            ("consul", Plan::Consul(registry.clone())),
        ];
        Ok(Self {
            plans,
            description: description::Servers {
                consul: format!("http://127.0.0.1:{}", ports.consul),
                consul_token_file: enroll::token_file(&secrets, ServiceName::Cli.as_str()),
                amqp_port: amqp,
                rabbitmq: format!("http://127.0.0.1:{}", ports.management),
                rabbitmq_user: RABBITMQ_USER.to_owned(),
                rabbitmq_password_file,
                redis_port: redis,
                redis_password_file,
                logs: folder.path(super::LOGS),
            },
            registry,
            dns,
            amqp_url_file,
            redis_url_file,
        })
    }

    /// Starts all servers at once.
    pub(super) async fn start(&self) -> Result<Vec<Fresh<&'static str>>, Error> {
        let plans = self.plans.iter().cloned();
        plan::start_all(plans.collect(), |name| name).await
    }
}

fn secret(folder: &Folder, name: &str) -> Result<(PathBuf, String), Error> {
    let file = folder.path(&format!("secrets/{name}-password"));
    let secret = secret_file::ensure::<site::Error>(&file, || Ok(secret_file::random()))?;
    Ok((file, secret))
}

fn url(folder: &Folder, name: &str, url: &str) -> Result<PathBuf, Error> {
    let file = folder.path(&format!("secrets/{name}"));
    secret_file::write(&file, url).map_err(site::Error::Secrets)?;
    Ok(file)
}
