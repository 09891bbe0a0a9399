//! Bringing a schema to the version that the program knows.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection,
    migrate::{Migrate, MigrateError as SqlxError},
    postgres::PgConnectOptions,
};

pub use sqlx::migrate::Migrator;

use crate::{error::DatabaseError, postgres::Database};

/// Table of a schema in which its migrations are noted.
const TABLE: &str = "_sqlx_migrations";
/// Key of the advisory lock that migrations of one database queue for.
const LOCK: i64 = 0x5375_7461_7a41_4901;

/// Why a schema is not at the version that the program knows.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The owner can not connect, or may not do what migrating takes.
    #[error("the owner of schema {schema} can not prepare it")]
    Prepare {
        /// The schema.
        schema: String,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The data belongs to a later version of the program.
    #[error(
        "schema {schema} holds data of version {found}, this program knows versions up to {known}: \
         run a later program, or start afresh with other data"
    )]
    Newer {
        /// The schema.
        schema: String,
        /// Version of the data.
        found: i64,
        /// Latest version that the program knows.
        known: i64,
    },
    /// A migration was changed after it ran, or is missing in this program.
    #[error("migration {version} of schema {schema} is not the one that ran there")]
    Changed {
        /// The schema.
        schema: String,
        /// The migration.
        version: i64,
    },
    /// A migration has not run yet.
    #[error("migration {version} of schema {schema} has not run: migrate first")]
    Pending {
        /// The schema.
        schema: String,
        /// The first one missing.
        version: i64,
    },
    /// A migration failed; its changes are undone.
    #[error("a migration of schema {schema} failed")]
    Failed {
        /// The schema.
        schema: String,
        /// What failed.
        source: SqlxError,
    },
    /// The versions can not be read.
    #[error("the version of the data can not be read")]
    Database(#[from] DatabaseError),
}

/// Runs what has not run yet, on a connection of its own, and returns how many migrations that were.
/// Any number of processes may do so at once.
///
/// # Errors
/// [`MigrateError`]; data of a later version is refused and left as it is.
pub async fn migrate(
    owner_url: &SecretString,
    schema: &str,
    migrator: &Migrator,
) -> Result<usize, MigrateError> {
    let failed = |source| MigrateError::Prepare {
        schema: schema.to_owned(),
        source,
    };
    let options: PgConnectOptions = owner_url.expose_secret().parse().map_err(failed)?;
    let options = options
        .application_name("migrate")
        .options([("search_path", schema)]);
    let mut connection = PgConnection::connect_with(&options).await.map_err(failed)?;
    let outcome = match prepare(&mut connection, schema).await {
        Ok(()) => run(&mut connection, migrator)
            .await
            .map_err(|error| explain(error, schema, migrator)),
        Err(error) => Err(failed(error)),
    };
    // Closing gives the locks back, whatever failed.
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "migration connection did not close cleanly");
    }
    outcome
}

/// Runs what is missing and counts it; the lock that [`prepare`] took keeps others from doing so.
async fn run(connection: &mut PgConnection, migrator: &Migrator) -> Result<usize, SqlxError> {
    connection.ensure_migrations_table(TABLE).await?;
    let before = connection.list_applied_migrations(TABLE).await?.len();
    migrator.run_direct(None, connection, false).await?;
    let after = connection.list_applied_migrations(TABLE).await?.len();
    Ok(after - before)
}

/// Checks, with a service's own login, that the schema is at the version that the program knows.
///
/// # Errors
/// [`MigrateError`], when it is earlier, later or other than that, or can not be read.
pub async fn verify(db: &Database, migrator: &Migrator) -> Result<(), MigrateError> {
    let ask = "select version, checksum from _sqlx_migrations";
    let rows = sqlx::query_as::<_, (i64, Vec<u8>)>(ask).fetch_all(db.pool());
    let applied: BTreeMap<_, _> = match db.run("migrate.verify", rows).await {
        Ok(rows) => rows.into_iter().collect(),
        Err(error) if is_missing_table(&error) => BTreeMap::new(),
        Err(error) => return Err(error.into()),
    };
    let schema = || db.schema().to_owned();
    if let Some(version) = applied
        .keys()
        .find(|version| !migrator.version_exists(**version))
    {
        return Err(explain(
            SqlxError::VersionMissing(*version),
            db.schema(),
            migrator,
        ));
    }
    for migration in migrator
        .iter()
        .filter(|m| !m.migration_type.is_down_migration())
    {
        let version = migration.version;
        match applied.get(&version) {
            None => {
                return Err(MigrateError::Pending {
                    schema: schema(),
                    version,
                });
            }
            Some(checksum) if *checksum != *migration.checksum => {
                return Err(MigrateError::Changed {
                    schema: schema(),
                    version,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Makes the schema while nobody else does: `create schema if not exists` alone is not safe
/// against a second session that makes it at the same moment.
async fn prepare(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_lock($1)")
        .bind(LOCK)
        .execute(&mut *connection)
        .await?;
    let create: String = sqlx::query_scalar("select format('create schema if not exists %I', $1)")
        .bind(schema)
        .fetch_one(&mut *connection)
        .await?;
    // The server itself quoted the name.
    sqlx::query(AssertSqlSafe(create))
        .execute(&mut *connection)
        .await?;
    Ok(())
}

fn explain(error: SqlxError, schema: &str, migrator: &Migrator) -> MigrateError {
    let schema = schema.to_owned();
    let known = migrator
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or_default();
    match error {
        SqlxError::VersionMissing(found) if found > known => MigrateError::Newer {
            schema,
            found,
            known,
        },
        SqlxError::VersionMissing(version) | SqlxError::VersionMismatch(version) => {
            MigrateError::Changed { schema, version }
        }
        source => MigrateError::Failed { schema, source },
    }
}

fn is_missing_table(error: &DatabaseError) -> bool {
    match error {
        DatabaseError::Query(sqlx::Error::Database(server)) => {
            // undefined_table
            server.code().as_deref() == Some("42P01")
        }
        _ => false,
    }
}
