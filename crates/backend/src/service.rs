//! The backend as a process: built from its settings, then run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::Utc;
use sutazai_auth::{
    AuthError, Identity, grpc,
    http::Authenticator,
    keys::{KeyError, KeySet},
    store,
};
use sutazai_mesh::{catalog::ServiceName, channel::Mesh};
use sutazai_persistence::{
    Database, DatabaseError,
    limit::Limiter,
    migrate::{self, MigrateError},
    postgres::Settings,
};
use sutazai_runtime::{
    Parts,
    config::Profile,
    lifecycle::Shutdown,
    probe::{CacheProbe, Postgres, Probe, RegistryProbe},
    service::{Addresses, BindError, Process, RunError},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    MIGRATOR,
    accounts::Accounts,
    chat::Chat,
    config::{Config, UserKeyError},
    cursor::Cursors,
    http::{self, Facts, Limits},
    peers::Peers,
    retention::Retention,
    store::Conversations,
    system::System,
};

/// Connections to the schema of accounts, which are read through a cache.
const IDENTITY_POOL: u32 = 4;
/// Longest wait for turns that are being stored when the service stops.
const STORING_GRACE: Duration = Duration::from_secs(3);

/// The backend with its sockets, ready to run.
pub struct Service {
    process: Process,
    /// Finished turns that are being stored.
    storing: TaskTracker,
}

/// Why the backend could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The database cannot be reached.
    #[error("the database cannot be used")]
    Database(#[from] DatabaseError),
    /// A schema is not the one that this binary was built for.
    #[error("the schema of the database does not fit")]
    Schema(#[from] MigrateError),
    /// A key file cannot be used.
    #[error("a key cannot be used")]
    Key(#[from] KeyError),
    /// The key of users' tokens cannot be used.
    #[error(transparent)]
    UserKey(#[from] UserKeyError),
    /// The administrator's account cannot be made.
    #[error("the administrator's account cannot be made")]
    Admin(#[from] AuthError),
    /// The document of the API cannot be rendered.
    #[error("the OpenAPI document cannot be rendered")]
    Document(#[from] serde_json::Error),
    /// The sockets cannot be taken.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// Connects, checks the schemas and takes the sockets.
    ///
    /// # Errors
    /// A part that the backend cannot do without is missing; the error names it.
    pub async fn build(self, parts: Parts) -> Result<Service, BuildError> {
        let breakers = parts.breakers.clone();
        let database = Database::connect(&self.database, &breakers).await?;
        let accounts_database = Database::connect(&self.accounts_database(), &breakers).await?;
        migrate::verify(&database, &MIGRATOR).await?;
        migrate::verify(&accounts_database, &store::MIGRATOR).await?;

        let identity = Identity::from_files(
            ServiceName::Backend,
            &self.service_key_file,
            &self.jwks_file,
        )?;
        let published = Arc::new(KeySet::open(&self.jwks_file)?);
        let user_key = self.user_key.open(&published, &self.jwks_file)?;
        let keys = store::Keys::new(accounts_database.clone());
        let accounts = Accounts::new(
            store::Accounts::new(accounts_database),
            keys.clone(),
            user_key,
            key_environment(self.base.profile),
        );
        accounts
            .ensure_admin(&self.admin_password, self.admin_api_key.as_ref())
            .await?;

        let mesh = Mesh::balanced(
            ServiceName::Backend,
            parts.registry.clone(),
            breakers.clone(),
            self.base.balancing.clone(),
        );
        let peers = Peers::new(mesh, identity.clone());
        let conversations = Conversations::new(database.clone());
        let storing = TaskTracker::new();
        let stopping = CancellationToken::new();
        let builder = Process::builder(ServiceName::Backend, &self.base);
        let always: [Arc<dyn Probe>; 2] = [
            Arc::new(Postgres(database.clone())),
            Arc::new(RegistryProbe(
                parts.registry.clone(),
                ServiceName::Backend,
                builder.instance_id().clone(),
            )),
        ];
        let probes = always.into_iter().chain(CacheProbe::of(&parts.cache));
        let probes: Arc<[Arc<dyn Probe>]> = probes.collect();
        let router = http::router(http::Parts {
            accounts,
            authenticator: Authenticator::new(identity.verifier().clone(), Some(keys.clone())),
            cache: parts.cache.clone(),
            chat: Chat::new(peers.clone(), conversations.clone(), storing.clone()),
            conversations: conversations.clone(),
            cursors: Cursors::new(&self.secret_key),
            facts: Facts {
                version: env!("CARGO_PKG_VERSION"),
                profile: self.base.profile,
                instance_id: builder.instance_id().to_string(),
                started_at: Utc::now(),
                started: Instant::now(),
            },
            keys: published,
            limits: Limits::new(
                Limiter::new(parts.cache.redis().cloned()),
                self.rates,
                parts.registry.watch(ServiceName::Backend),
            ),
            origins: self.cors_allowed_origins,
            peers: peers.clone(),
            stopping: stopping.clone(),
            system: System::new(peers, database, probes.clone()),
        })?;
        let retention = Retention::new(conversations, self.conversation_retention_days);
        let builder = builder
            .http(router)
            .health_alias("/api/health")
            .health_alias("/api/v1/health")
            .guard(grpc::guard(identity))
            .operator(grpc::operator)
            .breakers(breakers)
            .background("conversation-retention", |stop| retention.run(stop))
            .background("account-changes", async move |stop| {
                keys.follow(stop.cancelled()).await;
            })
            // The streams of task events have no end of their own: they end when the drain begins.
            .background("event-streams", async move |stop| {
                let _stopping = stopping.drop_guard();
                stop.cancelled().await;
            });
        let builder = probes
            .iter()
            .fold(builder, |builder, probe| builder.probe(probe.clone()));
        let process = builder.bind(parts.registry).await?;
        Ok(Service { process, storing })
    }

    /// Returns the settings for the schema of accounts, in the same database.
    pub(crate) fn accounts_database(&self) -> Settings {
        Settings {
            schema: store::SCHEMA,
            pool_min: 1,
            pool_max: self.database.pool_max.min(IDENTITY_POOL),
            ..self.database.clone()
        }
    }
}

/// Names the environment in API keys, so that a scanner knows how bad a leaked one is.
fn key_environment(profile: Profile) -> &'static str {
    match profile {
        Profile::Dev => "dev",
        Profile::Production => "live",
    }
}

impl sutazai_runtime::service::Service for Service {
    const NAME: ServiceName = ServiceName::Backend;

    fn addresses(&self) -> Addresses {
        self.process.addresses()
    }

    async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        let outcome = self.process.run(shutdown).await;
        self.storing.close();
        if tokio::time::timeout(STORING_GRACE, self.storing.wait())
            .await
            .is_err()
        {
            tracing::error!(
                turns = self.storing.len(),
                "finished turns were not stored in time"
            );
        }
        outcome
    }
}
