//! `sutazai gateway`: the configuration of the gateway, from the route table into a running Kong.

pub mod admin;
pub mod apply;
mod check;
mod site;

use std::{fs, io, os::unix::fs::PermissionsExt, path::PathBuf, process::ExitCode};

use sutazai_auth::keys::KeyError;
use sutazai_gateway::{
    drift::{self, NotEntities},
    kong::{self, Site, Unreadable, Unwritable, conf::NoSetting, entity::Declaration},
};
use sutazai_mesh::http::{self, HttpClient};
use sutazai_resilience::Breakers;

use crate::{
    args::{GatewayAction, KongArgs, SiteArgs},
    screen::{Mark, Screen},
};
use admin::Admin;
use apply::Outcome;

/// Name of the rendered file in the state folder.
const FILE: &str = "kong.yml";

/// Why the configuration could not be rendered, judged or loaded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The public keys can not be read.
    #[error("no keys in {path}: has the platform run on this folder? `--jwks` names another file")]
    Keys {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: KeyError,
    },
    /// An origin is none.
    #[error(transparent)]
    Origin(#[from] backend::InvalidOrigins),
    /// A file can not be read.
    #[error("can not read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file can not be written.
    #[error("can not write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The configuration can not be rendered.
    #[error(transparent)]
    Unwritable(#[from] Unwritable),
    /// A file holds no configuration.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// A file holds no settings.
    #[error(transparent)]
    NoSetting(#[from] NoSetting),
    /// The document of the API can not be read.
    #[error("the document of the API can not be read")]
    Document(#[source] serde_json::Error),
    /// No HTTP client can be made.
    #[error("can not set up HTTP")]
    Client(#[source] http::Failure),
    /// The Kong did not do what it was asked for.
    #[error(transparent)]
    Admin(#[from] admin::Error),
    /// What is loaded is no configuration.
    #[error(transparent)]
    Loaded(#[from] NotEntities),
    /// The configuration was loaded and did not hold.
    #[error(transparent)]
    Apply(#[from] apply::Error),
}

/// Does what the arguments ask for; the exit code says whether all is well.
///
/// # Errors
/// Why it could not be done.
pub async fn command(action: GatewayAction, screen: &Screen) -> Result<ExitCode, Error> {
    match action {
        GatewayAction::Render { keys: false, site } => {
            let site = Site {
                origins: site::origins(&site)?,
                ..Site::default()
            };
            screen.line(kong::declaration(&site).to_yaml()?.trim_end());
        }
        GatewayAction::Render { keys: true, site } => {
            let path = render(&site)?;
            say(screen, "rendered", &format!("wrote {}", path.display()));
        }
        GatewayAction::Check { file, conf } => {
            return check::command(file.as_deref(), conf.as_deref(), screen);
        }
        GatewayAction::Diff { kong, site } => {
            let declaration = site::declaration(&site)?;
            return diff(&admin_of(&kong)?, &declaration, screen).await;
        }
        GatewayAction::Apply { kong, site, probes } => {
            let text = site::declaration(&site)?.to_yaml()?;
            let admin = admin_of(&kong)?;
            let step = screen.step("loading");
            let outcome = apply::apply(&admin, &text, &probes).await?;
            step.done(match outcome {
                Outcome::Loaded => "loaded, and every probe answers",
                Outcome::Unchanged => "it was loaded already, and every probe answers",
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the configuration of this machine into its state folder, and returns the file.
///
/// # Errors
/// The keys can not be read, or the file not be written.
pub(crate) fn render(site: &SiteArgs) -> Result<PathBuf, Error> {
    let path = site.data.join(FILE);
    let text = site::declaration(site)?.to_yaml()?;
    // Kong reads it under an account of its own, and it holds nothing but public keys.
    let written = fs::create_dir_all(&site.data)
        .and_then(|()| fs::write(&path, text))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)));
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Write { path, source }),
    }
}

fn admin_of(args: &KongArgs) -> Result<Admin, Error> {
    let http = HttpClient::external(admin::PATIENCE).map_err(Error::Client)?;
    Ok(Admin::new(&args.admin, http, &Breakers::new()))
}

/// Compares what is loaded with what was rendered, and prints every difference.
async fn diff(
    admin: &Admin,
    declaration: &Declaration,
    screen: &Screen,
) -> Result<ExitCode, Error> {
    let written = serde_json::to_value(declaration).map_err(Error::Document)?;
    let loaded = admin.loaded().await?;
    let differences = drift::compare(&written, &loaded.document()?)?;
    if screen.is_json() {
        screen.event(&serde_json::json!({ "differences": differences }));
    }
    if differences.is_empty() {
        say(screen, "same", "what is loaded is what would be rendered");
        return Ok(ExitCode::SUCCESS);
    }
    if !screen.is_json() {
        for difference in &differences {
            screen.line(format!("{} {difference}", screen.mark(Mark::Bad)));
        }
    }
    Ok(ExitCode::FAILURE)
}

/// Says what was done: a line for people, an event for machines.
fn say(screen: &Screen, event: &str, text: &str) {
    if screen.is_json() {
        screen.event(&serde_json::json!({ "event": event, "text": text }));
    } else {
        screen.line(format!("{} {text}", screen.mark(Mark::Good)));
    }
}
