//! Writes the offline data of the checked queries, or checks that it is fresh (`--check`).
//!
//! A program of its own, because the services do not build while their offline data is stale. For
//! each crate with a `sqlx.toml` it makes the schema from the crate's migrations on a throw-away
//! server and lets the compiler describe every query there.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::SystemTime,
};

use sqlx::{Connection, PgConnection, migrate::Migrator};
use sutazai_servers::scratch;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let check = env::args().any(|argument| argument == "--check");
    let database = scratch::database().await?;
    let mut stale = Vec::new();
    for entry in fs::read_dir("crates")? {
        let folder = fs::canonicalize(entry?.path())?;
        if let Some(settings) = Settings::read(&folder)? {
            migrate(&folder, &settings, &database).await?;
            if !prepare(&folder, &settings, &database, check)? {
                stale.push(folder.join(".sqlx").display().to_string());
            }
        }
    }
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    Err(format!("stale, run `make generate`: {}", stale.join(", ")).into())
}

/// What this program needs of a crate's `sqlx.toml`.
struct Settings {
    variable: String,
    schema: String,
    table: String,
}

impl Settings {
    fn read(folder: &Path) -> Result<Option<Self>, Failure> {
        let Ok(text) = fs::read_to_string(folder.join("sqlx.toml")) else {
            return Ok(None);
        };
        let value = |key: &str| -> Result<String, Failure> {
            let line = text.lines().find(|line| line.trim_start().starts_with(key));
            let value = line.and_then(|line| line.split('"').nth(1));
            Ok(value
                .ok_or_else(|| format!("{}: no {key}", folder.display()))?
                .to_owned())
        };
        Ok(Some(Self {
            variable: value("database-url-var")?,
            schema: value("create-schemas")?,
            table: value("table-name")?,
        }))
    }

    fn url(&self, database: &str) -> String {
        let joint = if database.contains('?') { '&' } else { '?' };
        format!("{database}{joint}options=-csearch_path%3D{}", self.schema)
    }
}

async fn migrate(folder: &Path, settings: &Settings, database: &str) -> Result<(), Failure> {
    let mut migrator = Migrator::new(folder.join("migrations")).await?;
    migrator.dangerous_set_table_name(settings.table.clone());
    migrator.create_schema(settings.schema.clone());
    let mut connection = PgConnection::connect(&settings.url(database)).await?;
    migrator.run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

/// Returns whether the committed data is (now) fresh.
fn prepare(
    folder: &Path,
    settings: &Settings,
    database: &str,
    check: bool,
) -> Result<bool, Failure> {
    let committed = folder.join(".sqlx");
    let staging = env::temp_dir().join(format!("sqlx-prepare-{}", std::process::id()));
    let _ = fs::remove_dir_all(&staging);
    fs::create_dir_all(&staging)?;
    // The compiler runs the macros only for a crate that changed.
    fs::File::options()
        .append(true)
        .open(folder.join("src/lib.rs"))?
        .set_modified(SystemTime::now())?;
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["check", "--quiet", "--manifest-path"])
        .arg(folder.join("Cargo.toml"))
        .env(&settings.variable, settings.url(database))
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", &staging)
        .status()?;
    if !status.success() {
        return Err(format!("{} does not build", folder.display()).into());
    }
    let described = contents(&staging)?;
    let fresh = contents(&committed)? == described;
    if !fresh && !check {
        let _ = fs::remove_dir_all(&committed);
        fs::create_dir_all(&committed)?;
        for (name, text) in &described {
            fs::write(committed.join(name), text)?;
        }
    }
    fs::remove_dir_all(&staging)?;
    Ok(fresh || !check)
}

fn contents(folder: &Path) -> io::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(BTreeMap::new());
    };
    entries
        .map(|entry| {
            let entry = entry?;
            Ok((PathBuf::from(entry.file_name()), fs::read(entry.path())?))
        })
        .collect()
}
