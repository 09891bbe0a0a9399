//! `sutazai doctor`: a live probe of every part, with evidence, made with the clients of production.

mod api;
mod breaker;
mod consul;
mod echo;
mod fleet;
pub mod kong;
mod node;
mod operator;
mod part;
pub mod report;
mod trace;
mod traffic;

use std::{io, path::PathBuf, process::ExitCode};

use sutazai_auth::keys::KeyError;
use sutazai_mesh::{catalog::ServiceName, registry::consul::InvalidSettings};

use self::{
    consul::Consul,
    fleet::{Fleet, Roster},
    kong::Kong,
    operator::Operator,
    part::Parts,
    trace::Trace,
};
use crate::{args::DoctorArgs, configuration::SERVICES, enroll, screen::Screen, site::Description};

pub use report::{Report, Row, State};

/// Why there is nothing to look at.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No platform runs on the folder.
    #[error(
        "no platform runs on {folder}: start one with `sutazai dev` or `sutazai up`, or name its folder with --data"
    )]
    NotRunning {
        /// The folder.
        folder: PathBuf,
    },
    /// The description of the platform can not be read.
    #[error("can not read the description of the platform in {folder}")]
    Unreadable {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The operator's own key can not be used.
    #[error("can not use the operator's key")]
    Key(#[from] KeyError),
    /// There is no client for the registry.
    #[error("can not use the registry")]
    Registry(#[from] InvalidSettings),
    /// Its token can not be read.
    #[error(transparent)]
    Token(#[from] enroll::Error),
}

/// Probes the running platform and prints what was seen; success only when no part is broken, and none
/// was kept from being judged. Parts without traffic and parts that a platform does without are no
/// failure.
///
/// # Errors
/// Why there is nothing to look at.
pub async fn command(args: &DoctorArgs, screen: &Screen) -> Result<ExitCode, Error> {
    let description = Description::read(&args.data).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotRunning {
            folder: args.data.clone(),
        },
        _ => Error::Unreadable {
            folder: args.data.clone(),
            source,
        },
    })?;
    let step = screen.step("probing");
    let kong = Kong {
        admin: args.kong.clone(),
        proxy: args.kong_proxy.clone(),
    };
    let report = examine(&description, &kong).await?;
    drop(step);
    report.print(screen);
    Ok(if report.is_well() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Probes every part, those that others need first.
///
/// A part that fails only because another one did is not judged, so that one broken part gives one
/// red row.
///
/// # Errors
/// Why the operator's own key can not be used.
pub async fn examine(description: &Description, kong: &Kong) -> Result<Report, Error> {
    let mut report = Report::default();
    let parts = Parts::of(description);
    let servers = description.servers.as_ref();
    let consul = servers.map(Consul::new).transpose()?;
    let fleet = Fleet::look(
        Operator::new(description)?,
        roster(consul.as_ref(), description).await,
        description,
    )
    .await;
    for service in SERVICES {
        fleet
            .rows(service)
            .into_iter()
            .for_each(|row| report.add(row));
    }
    report.add(parts.postgres.row(&fleet));
    let broker = parts.broker.row(&fleet);
    report.add(echo::followed(broker, &parts.broker, &fleet).await);
    let registry = parts.registry.row(&fleet);
    report.add(visited(registry, consul.as_ref()).await);
    report.add(if description.servers.is_some() {
        parts.redis.row(&fleet)
    } else {
        let text =
            "this platform has no Redis; what it caches and counts, it keeps in its own process";
        Row::not_run(parts.redis.name, text)
    });
    if report.can_judge(node::NAME, &[ServiceName::OllamaProxy.as_str(), "postgres"]) {
        report.add(node::row(&fleet).await);
    }
    if report.can_judge(kong::NAME, &[ServiceName::Backend.as_str()]) {
        report.add(kong.row(description).await);
    }
    breaker::judge(&fleet, &parts, &mut report).await;
    judge_api(description, &parts, &fleet, &mut report).await;
    Ok(report)
}

/// Lists the instances: all that are entered in Consul, or where the platform says that they are.
async fn roster(consul: Option<&Consul>, description: &Description) -> Roster {
    if let Some(consul) = consul {
        // Without an answer the row of Consul says why.
        if let Ok(roster) = consul.entered().await {
            return roster;
        }
    }
    fleet::described(description)
}

/// Completes the row of a Consul that works: the doctor itself registers there and is found.
async fn visited(row: Row, consul: Option<&Consul>) -> Row {
    let (Some(consul), State::Well | State::Unused) = (consul, row.state) else {
        return row;
    };
    match consul.visit().await {
        Ok(text) => Row {
            evidence: format!("{text}; {}", row.evidence),
            ..row
        },
        Err(cause) => Row {
            counters: row.counters,
            ..Row::bad(&row.part, cause)
        },
    }
}

/// Judges what users do, if all that it needs works.
async fn judge_api(description: &Description, parts: &Parts, fleet: &Fleet, report: &mut Report) {
    if report.can_judge(api::TOKEN, &[ServiceName::Backend.as_str(), "postgres"]) {
        let row = api::token_row(description).await;
        report.add(report.or_refused(row));
    }
    let trace = Trace::begin();
    let services = SERVICES.map(ServiceName::as_str);
    let shared = [
        parts.postgres.name,
        parts.broker.name,
        parts.registry.name,
        node::NAME,
        api::TOKEN,
    ];
    if report.can_judge(api::TASK, &[&services[..], &shared].concat()) {
        let row = api::task_row(description, &trace).await;
        report.add(report.or_refused(row));
    }
    if report.can_judge(trace::NAME, &[api::TASK]) {
        report.add(trace.row(fleet).await);
    }
}
