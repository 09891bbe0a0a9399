//! `sutazai migrate`: roles and schemas on a Postgres that somebody else runs, before the services start.

use std::{fs, io, path::PathBuf, time::Duration};

use secrecy::SecretString;
use sutazai_persistence::{migrate::MigrateError, provision::ProvisionError};

use crate::{
    args::MigrateArgs,
    screen::Screen,
    site::{
        cluster::{Cluster, Prepared},
        secrets::database_password_file,
    },
};

/// Why the database is not prepared.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A password can not be read.
    #[error("can not read the password in {path}; `sutazai env init` makes all of them")]
    Password {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The server does not do what is asked.
    #[error("can not prepare the database on {host}:{port}")]
    Server {
        /// Host of the server.
        host: String,
        /// Its port.
        port: u16,
        /// What it said.
        source: Fault,
    },
    /// It took too long; what was not finished is undone.
    #[error("the database on {host}:{port} was not prepared within {seconds} s")]
    Slow {
        /// Host of the server.
        host: String,
        /// Its port.
        port: u16,
        /// The time it had.
        seconds: u64,
    },
}

/// What the server did not do.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Make the database and its roles.
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    /// Bring a schema to this version.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
}

/// Makes what is missing and says what that was.
///
/// # Errors
/// The password that can not be read, or what the server refused.
pub async fn command(args: &MigrateArgs, screen: &Screen) -> Result<(), Error> {
    let MigrateArgs {
        host,
        port,
        seconds,
        ..
    } = args.clone();
    let cluster = Cluster::new(&host, port, |role| password(args, role))?;
    let step = screen.step("database");
    let prepared = tokio::time::timeout(Duration::from_secs(seconds), cluster.prepare::<Fault>());
    let prepared = match prepared.await {
        Ok(Ok(prepared)) => prepared,
        Ok(Err(source)) => return Err(Error::Server { host, port, source }),
        Err(_) => {
            return Err(Error::Slow {
                host,
                port,
                seconds,
            });
        }
    };
    step.done(&format!("roles and schemas on {host}:{port}"));
    for schema in &prepared {
        show(schema, screen);
    }
    Ok(())
}

fn show(Prepared { schema, migrations }: &Prepared, screen: &Screen) {
    if screen.is_json() {
        screen.event(&serde_json::json!({
            "event": "schema", "schema": schema, "migrations": migrations,
        }));
        return;
    }
    let what = match migrations {
        0 => "unchanged".to_owned(),
        1 => "1 migration ran".to_owned(),
        many => format!("{many} migrations ran"),
    };
    screen.line(format!("{schema:<10} {what}"));
}

fn password(args: &MigrateArgs, role: &str) -> Result<SecretString, Error> {
    let path = database_password_file(&args.secrets, role);
    let text = fs::read_to_string(&path).map_err(|source| Error::Password { path, source })?;
    Ok(SecretString::from(text.trim_end()))
}
