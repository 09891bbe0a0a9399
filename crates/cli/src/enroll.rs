//! `sutazai enroll`: what each service may do in a Consul that asks for tokens.

pub mod acl;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use sutazai_mesh::catalog::ServiceName;
use uuid::Uuid;

use crate::{args::EnrollArgs, configuration::SERVICES, screen::Screen, secret_file};
use acl::{Consul, Enrolled};

/// What a service may do; `SERVICE` stands for its name.
const SERVICE: &str = include_str!("../../../consul/acl/service.hcl");
/// What people may do, by whose work it is.
const PEOPLE: [(&str, &str); 3] = [
    (PAGES, include_str!("../../../consul/acl/ui.hcl")),
    ("node", include_str!("../../../consul/acl/node.hcl")),
    (OPERATOR, include_str!("../../../consul/acl/operator.hcl")),
];
/// Token that may do everything; who has it gives the others theirs.
pub(crate) const MANAGEMENT: &str = "management";
/// Token for the pages.
pub(crate) const PAGES: &str = "ui";
/// Token of whoever takes entries out by hand.
pub(crate) const OPERATOR: &str = "operator";

/// Why not everybody has their rights.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A token can not be read.
    #[error(
        "can not read the token in {path}; `sutazai env init` makes all of them, as `sutazai up` does"
    )]
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
    let consul = open(&args.address, &args.secrets)?;
    let step = screen.step("consul");
    let seen = all(&consul, &args.secrets).await?;
    step.done(&format!("tokens at {}", args.address));
    for (name, enrolled) in seen {
        show(name, enrolled, screen);
    }
    Ok(())
}

/// Does the same for a Consul that only this machine reaches: there, whoever has no token may look.
///
/// # Errors
/// The token that can not be read, or what Consul refused.
pub(crate) async fn on_this_machine(address: &str, secrets: &Path) -> Result<(), Error> {
    let consul = open(address, secrets)?;
    all(&consul, secrets).await?;
    let shown = consul.give_to_all(PAGES).await;
    shown.map_err(|source| Error::Consul {
        name: PAGES,
        source,
    })
}

/// Makes the tokens that are not there yet, each in a file of its own.
///
/// # Errors
/// A file can not be read or written.
pub(crate) fn make_tokens(secrets: &Path) -> io::Result<()> {
    let others = policies().map(|(name, _)| name);
    for name in [MANAGEMENT].into_iter().chain(others) {
        let file = token_file(secrets, name);
        secret_file::ensure::<io::Error>(&file, || Ok(Uuid::new_v4().to_string()))?;
    }
    Ok(())
}

/// Names the file, in a folder of secrets, with a token.
pub(crate) fn token_file(secrets: &Path, name: &str) -> PathBuf {
    secrets.join(format!("consul-{name}"))
}

/// Reads the token in a file.
///
/// # Errors
/// Why it can not be read.
pub(crate) fn token(path: &Path) -> Result<SecretString, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Token {
        path: path.to_owned(),
        source,
    })?;
    Ok(SecretString::from(text.trim_end()))
}

fn open(address: &str, secrets: &Path) -> Result<Consul, Error> {
    let management = token(&token_file(secrets, MANAGEMENT))?;
    Consul::new(address, management).map_err(Error::Client)
}

async fn all(consul: &Consul, secrets: &Path) -> Result<Vec<(&'static str, Enrolled)>, Error> {
    let mut seen = Vec::new();
    for (name, rules) in policies() {
        let token = token(&token_file(secrets, name))?;
        let enrolled = consul.enroll(name, &rules, &token).await;
        let enrolled = enrolled.map_err(|source| Error::Consul { name, source })?;
        seen.push((name, enrolled));
    }
    Ok(seen)
}

/// Lists whose rights a policy gives, with its rules. The commands of whoever operates the platform
/// are a service too: the doctor enters itself to be found.
fn policies() -> impl Iterator<Item = (&'static str, String)> {
    let services = SERVICES.into_iter().chain([ServiceName::Cli]);
    let services = services.map(|service| {
        let name = service.as_str();
        (name, SERVICE.replace("SERVICE", name))
    });
    services.chain(PEOPLE.map(|(name, rules)| (name, rules.to_owned())))
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
