//! What is kept running, and how it is started and stopped.

use std::{
    io,
    path::{Path, PathBuf},
};

use sutazai_proto::status::chain;
use sutazai_servers::{
    consul::{self, Consul},
    ollama::{self, Ollama},
    postgres::{self, Postgres},
    process::{self, Process},
    programs::ProgramError,
    rabbitmq::{self, RabbitMq},
    redis::{self, Redis},
};

use super::{Error, registry::Guarded};
use crate::enroll;

/// How to start a process, and to start it again after its end: on the same ports and data.
#[derive(Clone, Debug)]
pub(super) enum Plan {
    Postgres(postgres::Options),
    Redis(redis::Options),
    RabbitMq(rabbitmq::Options),
    Consul(Guarded),
    Ollama(ollama::Options),
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
    /// Consul runs, and does not know who may do what.
    #[error(transparent)]
    Rights(#[from] enroll::Error),
    /// Ollama.
    #[error(transparent)]
    Ollama(#[from] ollama::StartError),
    /// A program that is named and not there.
    #[error(transparent)]
    Program(#[from] ProgramError),
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
    Ollama(Box<Ollama>),
    Service(Process),
}

/// A process that runs and is not kept yet, with what it is known by.
pub(super) type Fresh<Name> = (Name, Plan, Running);

/// Starts all at once; when one does not start, none is left running.
pub(super) async fn start_all<Name>(
    plans: Vec<(Name, Plan)>,
    text: impl Fn(&Name) -> &str,
) -> Result<Vec<Fresh<Name>>, Error> {
    let starts = plans.into_iter().map(async |(name, plan)| {
        let started = plan.start().await;
        (name, plan, started)
    });
    let (mut fresh, mut failure) = (Vec::new(), None);
    // Nobody is given up in the middle of a start: it could outlive us.
    for (name, plan, started) in futures::future::join_all(starts).await {
        match started {
            Ok(running) => fresh.push((name, plan, running)),
            Err(source) => {
                let name = text(&name).to_owned();
                tracing::error!(
                    process = name,
                    error = chain(&source),
                    "process does not start"
                );
                let source = Box::new(source);
                failure.get_or_insert(Error::Start { name, source });
            }
        }
    }
    match failure {
        None => Ok(fresh),
        Some(error) => {
            stop_all(fresh).await;
            Err(error)
        }
    }
}

/// Stops all at once.
pub(super) async fn stop_all<Name>(fresh: Vec<Fresh<Name>>) {
    let stops = fresh.into_iter().map(|(.., running)| running.stop());
    futures::future::join_all(stops).await;
}

impl Plan {
    pub(super) async fn start(&self) -> Result<Running, StartError> {
        Ok(match self.clone() {
            Self::Postgres(options) => Running::Postgres(Box::new(Postgres::start(options).await?)),
            Self::Redis(options) => Running::Redis(Box::new(Redis::start(options).await?)),
            Self::RabbitMq(options) => Running::RabbitMq(Box::new(RabbitMq::start(options).await?)),
            Self::Consul(guarded) => Running::Consul(Box::new(guarded.start().await?)),
            Self::Ollama(options) => Running::Ollama(Box::new(Ollama::start(options).await?)),
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
            Self::Ollama(server) => server.pid(),
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
            Self::Ollama(server) => server.data().join("log"),
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
            Self::Ollama(server) => server.ended().await,
            Self::Service(process) => process.ended().await,
        }
    }

    pub(super) async fn stop(self) {
        match self {
            Self::Postgres(server) => server.stop().await,
            Self::Redis(server) => server.stop().await,
            Self::RabbitMq(server) => server.stop().await,
            Self::Consul(server) => server.stop().await,
            Self::Ollama(server) => server.stop().await,
            Self::Service(process) => process.stop().await,
        }
    }
}
