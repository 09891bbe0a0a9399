//! Making the database and its roles.

use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};

/// Key of the advisory lock that provisioning of one server queues for.
const LOCK: i64 = 0x5375_7461_7a41_4902;

/// A role that logs in with a password.
#[derive(Clone, Debug)]
pub struct Login {
    /// Name of the role.
    pub role: &'static str,
    /// Its password.
    pub password: SecretString,
}

/// Why the database or a role could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// The superuser can not connect.
    #[error("the superuser can not connect to database {database}")]
    Connect {
        /// The database.
        database: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The server refused a step.
    #[error("the server refused to {step}")]
    Refused {
        /// What was to be done.
        step: &'static str,
        /// What the server said.
        source: sqlx::Error,
    },
}

/// Makes the database, the owner who may create schemas in it, and the logins, who may only connect.
///
/// It may run again at any time: passwords are set anew, everything else stays. What a login may
/// read and write, the migrations grant.
///
/// # Errors
/// [`ProvisionError`], naming the step; the steps before it stay done.
pub async fn provision(
    superuser_url: &SecretString,
    database: &str,
    owner: &Login,
    logins: &[Login],
) -> Result<(), ProvisionError> {
    let mut server = Session::open(superuser_url, None).await?;
    server.lock().await?;
    for login in logins.iter().chain([owner]) {
        server.role(login).await?;
    }
    server.database(database).await?;
    let close = "revoke all on database %I from public";
    server.run("close the database", close, &[database]).await?;
    let own = "grant connect, create on database %I to %I";
    server
        .run("let the owner in", own, &[database, owner.role])
        .await?;
    for login in logins {
        let enter = "grant connect on database %I to %I";
        server
            .run("let a login in", enter, &[database, login.role])
            .await?;
    }
    let mut inside = Session::open(superuser_url, Some(database)).await?;
    let close = "revoke all on schema public from public";
    inside.run("close the public schema", close, &[]).await?;
    inside.close().await;
    server.close().await;
    Ok(())
}

/// A superuser's connection.
struct Session(PgConnection);

impl Session {
    async fn open(url: &SecretString, database: Option<&str>) -> Result<Self, ProvisionError> {
        let failed = |source| ProvisionError::Connect {
            database: database.unwrap_or("of the URL").to_owned(),
            source,
        };
        let mut options: PgConnectOptions = url.expose_secret().parse().map_err(failed)?;
        if let Some(database) = database {
            options = options.database(database);
        }
        // Statements with passwords must not reach the server's log.
        let options = options
            .application_name("provision")
            .options([
                ("log_statement", "none"),
                ("log_min_error_statement", "panic"),
            ])
            .options([("log_min_duration_statement", "-1")]);
        let connection = PgConnection::connect_with(&options).await;
        connection.map(Self).map_err(failed)
    }

    /// Lets one process at a time change roles: the server refuses two at once.
    async fn lock(&mut self) -> Result<(), ProvisionError> {
        sqlx::query("select pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut self.0)
            .await
            .map_err(refused("lock the server"))?;
        Ok(())
    }

    async fn role(&mut self, login: &Login) -> Result<(), ProvisionError> {
        let known = "select exists (select from pg_roles where rolname = $1)";
        if !self.exists(known, login.role).await? {
            self.run("make a role", "create role %I", &[login.role])
                .await?;
        }
        let alter = "alter role %I login nosuperuser nocreatedb nocreaterole noreplication \
                     nobypassrls password %L";
        let values = [login.role, login.password.expose_secret()];
        self.run("set up a role", alter, &values).await
    }

    async fn database(&mut self, name: &str) -> Result<(), ProvisionError> {
        let known = "select exists (select from pg_database where datname = $1)";
        if self.exists(known, name).await? {
            return Ok(());
        }
        let create = "create database %I encoding 'UTF8' template template0";
        self.run("make the database", create, &[name]).await
    }

    async fn exists(&mut self, ask: &'static str, name: &str) -> Result<bool, ProvisionError> {
        sqlx::query_scalar(ask)
            .bind(name)
            .fetch_one(&mut self.0)
            .await
            .map_err(refused("list what exists"))
    }

    /// Runs a statement whose names and texts the server itself puts in and quotes: none of these
    /// statements takes parameters.
    async fn run(
        &mut self,
        step: &'static str,
        template: &'static str,
        values: &[&str],
    ) -> Result<(), ProvisionError> {
        let statement: String = sqlx::query_scalar("select format($1, variadic $2::text[])")
            .bind(template)
            .bind(values)
            .fetch_one(&mut self.0)
            .await
            .map_err(refused(step))?;
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut self.0)
            .await
            .map_err(refused(step))?;
        Ok(())
    }

    async fn close(self) {
        if let Err(error) = self.0.close().await {
            tracing::debug!(%error, "provision connection did not close cleanly");
        }
    }
}

fn refused(step: &'static str) -> impl FnOnce(sqlx::Error) -> ProvisionError {
    move |source| ProvisionError::Refused { step, source }
}
