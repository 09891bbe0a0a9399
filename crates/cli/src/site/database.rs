//! The Postgres child: started, provisioned with one role a service, migrated by the owner.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use sutazai_mesh::catalog::ServiceName;
use sutazai_servers::postgres::{Options, Postgres};

use super::{
    Error,
    cluster::{Cluster, DATABASE, SUPERUSER_PASSWORD},
    folder::Folder,
    secrets::database_password,
};
use crate::{configuration::SERVICES, secret_file};

/// The running database with the roles in it.
#[derive(Debug)]
pub struct Database {
    server: Postgres,
    roles: Roles,
}

/// The login role of each service, as the file with its URL.
#[derive(Debug)]
pub struct Roles(Vec<(ServiceName, PathBuf)>);

impl Database {
    /// Starts the server on a free port, makes roles and schemas, and brings them to this version.
    ///
    /// # Errors
    /// What is missing on the machine, or why the server, a role or a migration failed.
    pub async fn start(folder: &Folder) -> Result<Self, Error> {
        let server = Postgres::start(options(folder, None)?).await?;
        let roles = Roles::prepare(folder, &server).await?;
        Ok(Self { server, roles })
    }

    /// Returns the roles.
    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// Returns the server.
    pub fn server(&self) -> &Postgres {
        &self.server
    }

    /// Writes a dump of all schemas.
    ///
    /// # Errors
    /// Why the dump or its file failed.
    pub async fn backup(&self, file: &Path) -> Result<(), Error> {
        Ok(self.server.dump(DATABASE, file).await?)
    }

    /// Stops the server.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Roles {
    /// Makes roles and schemas on a server, and brings them to this version.
    ///
    /// # Errors
    /// Why a role or a migration failed.
    pub async fn prepare(folder: &Folder, server: &Postgres) -> Result<Self, Error> {
        let password = |name| database_password(folder, name).map(SecretString::from);
        let cluster = Cluster::new("127.0.0.1", server.port(), password)?;
        cluster.prepare::<Error>().await?;
        let mut files = Vec::new();
        for service in SERVICES {
            if let Some((role, url)) = cluster.login(service) {
                let file = folder.path(&format!("secrets/database-{role}"));
                secret_file::write(&file, url.expose_secret())?;
                files.push((service, file));
            }
        }
        Ok(Self(files))
    }

    /// Returns the file with the URL of a service's own role; none for a service without data.
    pub fn url_file(&self, service: ServiceName) -> Option<&Path> {
        let mut files = self.0.iter();
        let found = files.find(|(name, _)| *name == service);
        found.map(|(_, file)| file.as_path())
    }
}

/// Returns how the server is run on a state folder.
pub(crate) fn options(folder: &Folder, port: Option<u16>) -> Result<Options, Error> {
    Ok(Options {
        data: folder.path("postgres"),
        port,
        password: Some(database_password(folder, SUPERUSER_PASSWORD)?),
        durable: true,
    })
}
