//! ollama-proxy as a process.

use std::sync::Arc;

use sutazai_auth::{
    Identity, Principal, Role, grpc, http::Authenticator, keys::KeyError,
    principal::DEFAULT_TENANT, store::Keys,
};
use sutazai_mesh::{catalog::ServiceName, http::NodeClient};
use sutazai_persistence::{DatabaseError, postgres::Database};
use sutazai_proto::inference::v1::inference_server::InferenceServer;
use sutazai_runtime::{
    Parts,
    config::Profile,
    lifecycle::Shutdown,
    probe::{CacheProbe, RegistryProbe},
    service::{Addresses, BindError, Process, RunError, Service as RuntimeService},
};
use tonic::service::Routes;

use crate::{
    chat::Answers, config::Config, fleet::Fleet, grpc::Grpc, http, ollama::Client, probe::NodeProbe,
};

/// Name under which nodes that run models are registered.
const NODES: &str = "ollama";

/// Subject of requests from this machine that carry no credential, in the profile `dev`.
const LOOPBACK_SUBJECT: &str = "loopback";

/// ollama-proxy with its sockets, ready to run.
pub struct Service(Process);

/// Why ollama-proxy could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A key file can not be used.
    #[error("the keys can not be used")]
    Keys(#[from] KeyError),
    /// The database of API keys can not be used.
    #[error("the API keys can not be read")]
    Database(#[from] DatabaseError),
    /// A socket can not be had.
    #[error(transparent)]
    Bind(#[from] BindError),
}

impl Config {
    /// Looks at the nodes once, binds the sockets and makes the service.
    ///
    /// # Errors
    ///
    /// [`BuildError`]; nodes that do not answer are no error.
    pub async fn build(self, parts: Parts) -> Result<Service, BuildError> {
        let identity = Identity::from_files(
            ServiceName::OllamaProxy,
            &self.service_key_file,
            &self.jwks_file,
        )?;
        let breakers = parts.breakers.clone();
        let client = Client::new(NodeClient::new(self.fleet.limits.connect));
        let fleet = Arc::new(Fleet::new(self.fleet, client, &breakers));
        fleet.refresh(std::time::Duration::ZERO).await;

        let keys = match &self.database {
            Some(settings) => Some(Keys::new(Database::connect(settings, &breakers).await?)),
            None => None,
        };
        let authenticator = authenticator(&identity, keys.clone(), self.base.profile);
        let builder = Process::builder(ServiceName::OllamaProxy, &self.base);
        let instance = builder.instance_id().clone();
        let mut builder = builder
            .http(http::routes(fleet.clone(), &authenticator, self.body_limit))
            .grpc(Routes::new(InferenceServer::new(Grpc {
                fleet: fleet.clone(),
                answers: Answers::new(fleet.clone(), parts.cache.clone()),
            })))
            .guard(grpc::guard(identity))
            .operator(grpc::operator)
            .probe(Arc::new(NodeProbe(fleet.clone())))
            .probe(Arc::new(RegistryProbe(
                parts.registry.clone(),
                ServiceName::OllamaProxy,
                instance,
            )))
            .breakers(breakers)
            .background("nodes", {
                let (fleet, listed) = (fleet.clone(), parts.registry.watch_foreign(NODES));
                move |stop| fleet.follow(listed, stop)
            })
            .background("fleet", move |stop| fleet.watch(stop));
        if let Some(probe) = CacheProbe::of(&parts.cache) {
            builder = builder.probe(probe);
        }
        if let Some(keys) = keys {
            builder = builder.background("api-keys", move |stop| async move {
                keys.follow(stop.cancelled()).await;
            });
        }
        Ok(Service(builder.bind(parts.registry).await?))
    }
}

fn authenticator(identity: &Identity, keys: Option<Keys>, profile: Profile) -> Authenticator {
    let authenticator = Authenticator::new(identity.verifier().clone(), keys);
    match profile {
        Profile::Production => authenticator,
        Profile::Dev => authenticator.open_on_loopback(Principal {
            subject: LOOPBACK_SUBJECT.to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            roles: vec![Role::User],
            scopes: None,
        }),
    }
}

impl RuntimeService for Service {
    const NAME: ServiceName = ServiceName::OllamaProxy;

    fn addresses(&self) -> Addresses {
        self.0.addresses()
    }

    async fn run(self, shutdown: Shutdown) -> Result<(), RunError> {
        self.0.run(shutdown).await
    }
}
