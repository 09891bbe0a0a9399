//! `sutazai enroll`: what each service may do in a Consul that asks for tokens.

pub mod acl;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use sutazai_mesh::catalog::ServiceName;

use crate::{args::EnrollArgs, configuration::SERVICES, screen::Screen};
use acl::{Consul, Enrolled};

/// What a service may do; `SERVICE` stands for its name.
const SERVICE: &str = include_str!("../../../consul/acl/service.hcl");
/// What whoever looks at the pages may do.
const UI: &str = include_str!("../../../consul/acl/ui.hcl");
/// Token that may do everything; who has it gives the others theirs.
pub(crate) const MANAGEMENT: &str = "management";
/// Token for the pages.
const PAGES: &str = "ui";

/// Why not everybody has their rights.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A token can not be read.
    #[error("can not read the token in {path}; `sutazai env init` makes all of them")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Consul does not do what is asked.
    #[error("can not give {name} its rights in Consul")]
    Consul {
        /// Whose rights.
        name: &'static str,
        /// What it said.
        source: acl::Error,
    },
    /// No client can be made.
    #[error("can not make an HTTP client")]
    Client(#[source] sutazai_mesh::http::Failure),
}

/// Makes policies and tokens; what is there already is only brought up to date.
///
/// # Errors
/// The token that can not be read, or what Consul refused.
pub async fn command(args: &EnrollArgs, screen: &Screen) -> Result<(), Error> {
    let management = token(&args.secrets, MANAGEMENT)?;
    let consul = Consul::new(&args.address, management).map_err(Error::Client)?;
    let step = screen.step("consul");
    let mut seen = Vec::new();
    for (name, rules) in policies() {
        let token = token(&args.secrets, name)?;
        let enrolled = consul.enroll(name, &rules, &token).await;
        let enrolled = enrolled.map_err(|source| Error::Consul { name, source })?;
        seen.push((name, enrolled));
    }
    step.done(&format!("tokens at {}", args.address));
    for (name, enrolled) in seen {
        show(name, enrolled, screen);
    }
    Ok(())
}

/// Lists who has a token, as its file names it.
pub(crate) fn tokens() -> impl Iterator<Item = &'static str> {
    let services = SERVICES.into_iter().map(ServiceName::as_str);
    [MANAGEMENT, PAGES].into_iter().chain(services)
}

/// Names the file, in a folder of secrets, with a token.
pub(crate) fn token_file(secrets: &Path, name: &str) -> PathBuf {
    secrets.join(format!("consul-{name}"))
}

/// Lists whose rights a policy gives, with its rules.
fn policies() -> impl Iterator<Item = (&'static str, String)> {
    let services = SERVICES.into_iter().map(|service| {
        let name = service.as_str();
        (name, SERVICE.replace("SERVICE", name))
    });
    services.chain([(PAGES, UI.to_owned())])
}

fn token(secrets: &Path, name: &str) -> Result<SecretString, Error> {
    let path = token_file(secrets, name);
    let text = fs::read_to_string(&path).map_err(|source| Error::Token { path, source })?;
    Ok(SecretString::from(text.trim_end()))
}

fn show(name: &str, enrolled: Enrolled, screen: &Screen) {
    let Enrolled { policy, token } = enrolled;
    if screen.is_json() {
        screen.event(&serde_json::json!({
            "event": "enrolled", "name": name, "policy_changed": policy, "token_made": token,
        }));
        return;
    }
    let what = match (policy, token) {
        (false, false) => "unchanged",
        (true, false) => "policy changed",
        (_, true) => "token made",
    };
    screen.line(format!("{name:<20} {what}"));
}
