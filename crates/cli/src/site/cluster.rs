//! The roles and schemas of the database, on whichever server it is.

use secrecy::SecretString;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::{
    migrate::{MigrateError, Migrator, migrate},
    provision::{Login, ProvisionError, provision},
};
use sutazai_runtime::config::UrlParts;

/// Name of the database; each service has a schema of its own in it.
pub(crate) const DATABASE: &str = "sutazai";
/// The only role that may create and migrate.
const OWNER: &str = "sutazai_owner";
/// The role that makes the others; the database that it logs in to has the same name.
const SUPERUSER: &str = "postgres";
/// What the superuser is called among the passwords.
pub(crate) const SUPERUSER_PASSWORD: &str = "superuser";
/// The login role of each service that has one.
pub(crate) const ROLES: [(ServiceName, &str); 4] = [
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

/// Lists what has a password, as its file names it.
pub(crate) fn passwords() -> impl Iterator<Item = &'static str> {
    let roles = ROLES.into_iter().map(|(_, role)| role);
    [SUPERUSER_PASSWORD, OWNER].into_iter().chain(roles)
}

/// A server, with the passwords of all who log in there.
#[derive(Debug)]
pub(crate) struct Cluster {
    host: String,
    port: u16,
    superuser: SecretString,
    owner: Login,
    logins: Vec<Login>,
}

/// A schema at the version that this program knows.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) schema: &'static str,
    /// Migrations that ran just now.
    pub(crate) migrations: usize,
}

impl Cluster {
    /// Asks for the password of everyone.
    pub(crate) fn new<E>(
        host: &str,
        port: u16,
        password: impl Fn(&'static str) -> Result<SecretString, E>,
    ) -> Result<Self, E> {
        let login = |role| {
            Ok(Login {
                role,
                password: password(role)?,
            })
        };
        let logins = ROLES.into_iter().map(|(_, role)| login(role));
        Ok(Self {
            host: host.to_owned(),
            port,
            superuser: password(SUPERUSER_PASSWORD)?,
            owner: login(OWNER)?,
            logins: logins.collect::<Result<_, E>>()?,
        })
    }

    /// Makes database, roles and schemas, and brings them to this version; what is there stays.
    pub(crate) async fn prepare<E>(&self) -> Result<Vec<Prepared>, E>
    where
        E: From<ProvisionError> + From<MigrateError>,
    {
        let superuser = self.url(SUPERUSER, &self.superuser, SUPERUSER);
        provision(&superuser, DATABASE, &self.owner, &self.logins).await?;
        let owner = self.url_of(&self.owner);
        let mut prepared = Vec::new();
        for (schema, migrator) in schemas() {
            let migrations = migrate(&owner, schema, migrator).await?;
            prepared.push(Prepared { schema, migrations });
        }
        Ok(prepared)
    }

    /// Returns the login of a service and its URL; none for a service without data.
    pub(crate) fn login(&self, service: ServiceName) -> Option<(&'static str, SecretString)> {
        let (_, role) = ROLES.iter().find(|(name, _)| *name == service)?;
        let login = self.logins.iter().find(|login| login.role == *role)?;
        Some((login.role, self.url_of(login)))
    }

    fn url_of(&self, login: &Login) -> SecretString {
        self.url(login.role, &login.password, DATABASE)
    }

    fn url(&self, user: &str, password: &SecretString, database: &str) -> SecretString {
        let url = UrlParts {
            scheme: "postgres",
            user,
            password: Some(password),
            host: &self.host,
            port: self.port,
            path: database,
        };
        url.join()
    }
}
