//! `sutazai doctor`: a live probe of every part, with evidence, made with the clients of production.

mod api;
mod fleet;
pub mod report;

use std::{io, path::PathBuf, process::ExitCode};

use sutazai_auth::keys::KeyError;
use sutazai_mesh::catalog::ServiceName;

use crate::{args::DoctorArgs, screen::Screen, site::Description};

pub use report::{Report, Row};

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
}

/// Probes the running platform and prints what was seen; success only when every part is well.
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
    let report = examine(&description).await?;
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
pub async fn examine(description: &Description) -> Result<Report, Error> {
    let mut report = Report::default();
    let fleet = fleet::Fleet::look(description).await?;
    for service in fleet::SERVICES {
        report.add(fleet.service_row(service));
    }
    report.add(fleet.part_row("postgres", "db_queries_total"));
    report.add(fleet.part_row("broker", "messages_published_total"));
    report.add(fleet.part_row("registry", "mesh_calls_total"));

    let backend = ServiceName::Backend.as_str();
    let proxy = ServiceName::OllamaProxy.as_str();
    if report.can_judge("node", &[proxy, "postgres"]) {
        report.add(fleet.node_row().await);
    }
    if report.can_judge("token", &[backend, "postgres"]) {
        report.add(api::token_row(description).await);
    }
    let all: Vec<&str> = fleet::SERVICES.iter().map(|name| name.as_str()).collect();
    let needs = [
        &all[..],
        &["postgres", "broker", "registry", "node", "token"],
    ]
    .concat();
    if report.can_judge("task", &needs) {
        report.add(api::task_row(description).await);
    }
    Ok(report)
}
