//! How a service reaches its database: one URL, or its parts.

use std::time::Duration;

use secrecy::SecretString;
use sutazai_mesh::catalog::ServiceName;
use sutazai_persistence::postgres::Settings;

use super::{
    Profile, Reader, Strength,
    url::{self, UrlParts},
};

const URL: &str = "DATABASE_URL";

/// Reads how `service` reaches its `schema`.
///
/// `DATABASE_URL` or `DATABASE_URL_FILE` counts when it is set, else the parts
/// `POSTGRES_HOST`, `_PORT`, `_USER`, `_PASSWORD` and `_DB`.
pub fn database(
    reader: &mut Reader<'_>,
    service: ServiceName,
    schema: &'static str,
) -> Option<Settings> {
    let by_parts = !reader.is_set(URL) && reader.is_set("POSTGRES_HOST");
    let url = if by_parts {
        from_parts(reader, service)
    } else {
        whole(reader)
    };
    let (least, most) = match reader.profile() {
        Profile::Dev => (1, 8),
        Profile::Production => (10, 20),
    };
    let doc = "connections to the database that stay open";
    let pool_min = reader.within("DB_POOL_MIN", doc, least, 0..=1000);
    let doc = "connections to the database that may be open";
    let pool_max = reader.within("DB_POOL_MAX", doc, most, 1..=1000);
    if pool_min > pool_max {
        reader.fault(
            "DB_POOL_MIN",
            format!("must not exceed DB_POOL_MAX, which is {pool_max}"),
        );
    }
    let acquire_timeout = reader.seconds(
        "DB_ACQUIRE_SECONDS",
        "longest wait for a connection of the pool, in seconds",
        Duration::from_secs(2),
    );
    let statement_timeout = reader.seconds(
        "DB_STATEMENT_SECONDS",
        "longest time of one statement, in seconds",
        Duration::from_secs(10),
    );
    let connect_within = reader.seconds(
        "DB_CONNECT_SECONDS",
        "longest wait for the database at start, in seconds",
        Duration::from_secs(15),
    );
    Some(Settings {
        pool_min,
        pool_max,
        acquire_timeout,
        statement_timeout,
        connect_within,
        ..Settings::new(url?, schema, service.as_str())
    })
}

fn whole(reader: &mut Reader<'_>) -> Option<SecretString> {
    let doc = "the database, as postgres://user:password@host:port/database";
    url::whole(reader, URL, doc, ["postgres", "postgresql"])
}

fn from_parts(reader: &mut Reader<'_>, service: ServiceName) -> Option<SecretString> {
    let host: Option<String> = reader.required("POSTGRES_HOST", "host of the database");
    let port = reader.within(
        "POSTGRES_PORT",
        "port of the database",
        5432_u16,
        1..=u16::MAX,
    );
    let doc = "login role of this service";
    let user = reader.or("POSTGRES_USER", doc, service.as_str().replace('-', "_"));
    let database = reader.or("POSTGRES_DB", "name of the database", "sutazai".to_owned());
    let doc = "password of the login role";
    let password = reader.secret("POSTGRES_PASSWORD", doc, Strength::Any);
    let (host, password) = (host?, password?);
    let url = UrlParts {
        scheme: "postgres",
        user: &user,
        password: Some(&password),
        host: &host,
        port,
        path: &database,
    };
    Some(url.join())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{
        super::{Faults, Loaded, Source},
        *,
    };

    fn read(pairs: &[(&str, &str)]) -> Result<Loaded<Settings>, Faults> {
        let source = Source::from_pairs(pairs.iter().copied()).with("SUTAZAI_PROFILE", "dev");
        let mut reader = Reader::new(&source);
        let settings = database(&mut reader, ServiceName::TaskCoordinator, "tasks");
        reader.finish(settings)
    }

    #[test]
    fn the_parts_make_a_url_whatever_the_password_holds() {
        let loaded = read(&[
            ("POSTGRES_HOST", "db"),
            ("POSTGRES_PASSWORD", "p@ss/w:rd%1"),
        ])
        .unwrap();
        assert_eq!(
            loaded.config.url.expose_secret(),
            "postgres://task_coordinator:p%40ss%2Fw%3Ard%251@db:5432/sutazai"
        );
        assert!(
            !loaded.effective().contains("p@ss"),
            "{}",
            loaded.effective()
        );
    }

    #[test]
    fn cfg_01_without_a_database_the_url_is_asked_for() {
        let faults = read(&[("DB_POOL_MIN", "30"), ("DB_POOL_MAX", "10")]).unwrap_err();
        let names: Vec<_> = faults.as_slice().iter().map(|f| f.name.as_str()).collect();
        assert_eq!(names, ["DATABASE_URL", "DB_POOL_MIN"]);
    }

    #[test]
    fn cfg_02_default_passwords_and_other_databases_are_refused() {
        for url in ["postgres://u:postgres@db/x", "mysql://u:canary@db/x"] {
            let faults = read(&[("DATABASE_URL", url)]).unwrap_err();
            assert_eq!(faults.as_slice().len(), 1, "{faults}");
            assert!(!faults.to_string().contains("canary"), "{faults}");
        }
        assert!(read(&[("DATABASE_URL", "postgres://u:wh4t3v3r@db/x")]).is_ok());
    }
}
