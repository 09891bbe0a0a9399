//! The Postgres child: started, provisioned with one role a service, migrated by the owner.

use std::path::{Path, PathBuf};

use secrecy::SecretString;
use sqlx::migrate::Migrator;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::{
    migrate::migrate,
    provision::{Login, provision},
};
use sutazai_servers::postgres::{Options, Postgres};

use super::{Error, folder::Folder, secrets::database_password};
use crate::secret_file;

/// Name of the database; each service has a schema of its own in it.
const DATABASE: &str = "sutazai";
/// The only role that may create and migrate.
const OWNER: &str = "sutazai_owner";
/// The login role of each service that has one.
const ROLES: [(ServiceName, &str); 4] = [
    (ServiceName::Backend, "backend"),
    (ServiceName::TaskCoordinator, "task_coordinator"),
    (ServiceName::AgentOrchestrator, "agent_orchestrator"),
    (ServiceName::OllamaProxy, "ollama_proxy"),
];

/// Every schema with the crate that owns it, in the order of migration: the doors read `identity`.
fn schemas() -> [(&'static str, &'static Migrator); 4] {
    [
        ("identity", &sutazai_auth::store::MIGRATOR),
        ("backend", &backend::MIGRATOR),
        ("tasks", &task_coordinator::MIGRATOR),
        ("agents", &agent_orchestrator::MIGRATOR),
    ]
}

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
        let login = |role: &'static str| -> Result<Login, Error> {
            Ok(Login {
                role,
                password: SecretString::from(database_password(folder, role)?),
            })
        };
        let logins = ROLES
            .map(|(_, role)| login(role))
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let superuser = SecretString::from(server.superuser_url("postgres"));
        provision(&superuser, DATABASE, &login(OWNER)?, &logins).await?;

        let url = |role: &str| -> Result<String, Error> {
            let password = database_password(folder, role)?;
            Ok(format!(
                "postgres://{role}:{password}@127.0.0.1:{}/{DATABASE}",
                server.port()
            ))
        };
        let owner = SecretString::from(url(OWNER)?);
        for (schema, migrator) in schemas() {
            migrate(&owner, schema, migrator).await?;
        }
        let files = ROLES.map(|(service, role)| {
            let file = folder.path(&format!("secrets/database-{role}"));
            secret_file::write(&file, &url(role)?)?;
            Ok((service, file))
        });
        Ok(Self(files.into_iter().collect::<Result<_, Error>>()?))
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
        password: Some(database_password(folder, "superuser")?),
        durable: true,
    })
}
