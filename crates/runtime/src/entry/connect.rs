//! The links of a process to what all services share.

use std::sync::Arc;

use sutazai_mesh::{
    catalog::ServiceName,
    registry::{
        Registry,
        consul::{self, ConsulRegistry},
    },
};
use sutazai_messaging::{
    Broker,
    rabbit::{self, InvalidUrl, RabbitBroker},
};
use sutazai_persistence::{
    cache::{self, Cache},
    redis::{Redis, RedisError},
};
use sutazai_resilience::Breakers;

use crate::{
    config::{Links, RegistryLink},
    parts::{NoBroker, Parts},
};

/// Why a link can not be made; the other side being away is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum LinkError {
    #[error("no link to the registry")]
    Registry(#[from] consul::InvalidSettings),
    #[error("no link to the broker")]
    Broker(#[from] InvalidUrl),
    #[error("no link to the cache")]
    Cache(#[from] RedisError),
}

/// Makes the links; they connect in the background, so a Tokio runtime has to be there.
pub(super) fn parts(links: &Links, service: ServiceName) -> Result<Parts, LinkError> {
    let breakers = Breakers::new();
    let RegistryLink {
        address,
        token,
        zone,
        weight,
    } = links.registry.clone();
    let settings = consul::Settings {
        token,
        zone,
        weight,
        ..consul::Settings::new(address)
    };
    let registry: Arc<dyn Registry> = Arc::new(ConsulRegistry::new(settings, &breakers)?);
    for other in ServiceName::ALL
        .into_iter()
        .filter(|to| service.may_call(*to))
    {
        // A watch is empty until its first answer, so it begins before the first call.
        let _ = registry.watch(other);
    }
    let broker: Arc<dyn Broker> = match &links.broker {
        Some(url) => {
            let settings = rabbit::Settings::new(url.clone(), service.as_str());
            Arc::new(RabbitBroker::new(&settings, &breakers)?)
        }
        None => Arc::new(NoBroker),
    };
    let settings = cache::Settings::default();
    let cache = match &links.cache {
        Some(redis) => Cache::shared(settings, Redis::new(redis.clone(), &breakers)?),
        None => Cache::local(settings),
    };
    Ok(Parts {
        registry,
        broker,
        breakers,
        cache,
    })
}
