//! What is kept running, and how it is started and stopped.

use std::{
    io,
    path::{Path, PathBuf},
};

use sutazai_servers::{
    consul::{self, Consul},
    postgres::{self, Postgres},
    process::{self, Process},
    rabbitmq::{self, RabbitMq},
    redis::{self, Redis},
};

/// How to start a process, and to start it again after its end: on the same ports and data.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Postgres(postgres::Options),
    Redis(redis::Options),
    RabbitMq(rabbitmq::Options),
    Consul(consul::Options),
    Service(process::Options),
}

/// Why a process does not run.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Postgres.
    #[error(transparent)]
    Postgres(#[from] postgres::StartError),
    /// Redis.
    #[error(transparent)]
    Redis(#[from] redis::StartError),
    /// RabbitMQ.
    #[error(transparent)]
    RabbitMq(#[from] rabbitmq::StartError),
    /// Consul.
    #[error(transparent)]
    Consul(#[from] consul::StartError),
    /// A service.
    #[error("can not run the service")]
    Service(#[from] io::Error),
}

/// A process that runs.
#[derive(Debug)]
pub(super) enum Running {
    Postgres(Box<Postgres>),
    Redis(Box<Redis>),
    RabbitMq(Box<RabbitMq>),
    Consul(Box<Consul>),
    Service(Process),
}

impl Plan {
    pub(super) async fn start(&self) -> Result<Running, StartError> {
        Ok(match self.clone() {
            Self::Postgres(options) => Running::Postgres(Box::new(Postgres::start(options).await?)),
            Self::Redis(options) => Running::Redis(Box::new(Redis::start(options).await?)),
            Self::RabbitMq(options) => Running::RabbitMq(Box::new(RabbitMq::start(options).await?)),
            Self::Consul(options) => Running::Consul(Box::new(Consul::start(options).await?)),
            Self::Service(options) => Running::Service(Process::start(&options).await?),
        })
    }
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        match self {
            Self::Postgres(server) => server.pid(),
            Self::Redis(server) => server.pid(),
            Self::RabbitMq(server) => server.pid(),
            Self::Consul(server) => server.pid(),
            Self::Service(process) => process.pid(),
        }
    }

    /// Returns the log of a server; that of a service is known from its plan.
    pub(super) fn log(&self) -> Option<PathBuf> {
        let beside = |data: &Path| data.with_extension("log");
        Some(match self {
            Self::Postgres(server) => beside(server.data()),
            Self::Redis(server) => beside(server.data()),
            Self::RabbitMq(server) => server.data().join("log/rabbitmq.log"),
            Self::Consul(server) => server.options().data.join("consul.log"),
            Self::Service(_) => return None,
        })
    }

    /// Says whether a service has ended; servers are not asked.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Service(process) if process.has_ended())
    }

    /// Returns when the process has ended, whoever ended it.
    pub(super) async fn ended(&self) {
        match self {
            Self::Postgres(server) => server.ended().await,
            Self::Redis(server) => server.ended().await,
            Self::RabbitMq(server) => server.ended().await,
            Self::Consul(server) => server.ended().await,
            Self::Service(process) => process.ended().await,
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Postgres(server) => server.stop().await,
            Self::Redis(server) => server.stop().await,
            Self::RabbitMq(server) => server.stop().await,
            Self::Consul(server) => server.stop().await,
            Self::Service(process) => process.stop().await,
        }
    }
}
