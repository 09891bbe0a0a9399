//! What a service needs from outside, looked at without the service.

use std::{fmt::Display, future::Future, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use sutazai_persistence::{
    Database,
    migrate::{self, Migrator},
    postgres::Settings,
};
use sutazai_proto::status::chain;
use sutazai_resilience::Breakers;

use crate::probe::{Evidence, Failure};

/// Longest time for one look.
const LIMIT: Duration = Duration::from_secs(5);
/// Time for a database to answer, within [`LIMIT`].
const DATABASE_LIMIT: Duration = Duration::from_secs(3);

/// One thing that a service needs from outside.
pub struct Need {
    pub(super) part: String,
    look: BoxFuture<'static, Result<Evidence, Failure>>,
}

impl Need {
    /// Describes a need by how to look at it; the look begins with the selfcheck.
    pub fn new<E: Display>(
        part: impl Into<String>,
        look: impl Future<Output = Result<String, E>> + Send + 'static,
    ) -> Self {
        Self {
            part: part.into(),
            look: look
                .map(|seen| seen.map(Evidence::new).map_err(Failure::new))
                .boxed(),
        }
    }

    /// Describes the need of a database with a schema of this version.
    pub fn database(settings: &Settings, migrator: &'static Migrator) -> Self {
        let settings = Settings {
            connect_within: settings.connect_within.min(DATABASE_LIMIT),
            pool_min: 0,
            ..settings.clone()
        };
        Self::new(format!("postgres:{}", settings.schema), async move {
            let database = Database::connect(&settings, &Breakers::new())
                .await
                .map_err(|error| chain(&error))?;
            migrate::verify(&database, migrator)
                .await
                .map_err(|error| chain(&error))?;
            let answer = database.ping().await.map_err(|error| chain(&error))?;
            Ok::<_, String>(format!("{answer}; the schema is of this version"))
        })
    }

    /// Looks, within a limit.
    pub(super) async fn look(self) -> Result<Evidence, Failure> {
        let seconds = LIMIT.as_secs();
        let late = || Failure::new(format!("no answer within {seconds} s"));
        tokio::time::timeout(LIMIT, self.look)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}
