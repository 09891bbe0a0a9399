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
    config::{Configured, Links, RegistryLink},
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
///
/// What the service declares is asked beside what was read: it is a constant, so that a program holds
/// no client of a broker or of Redis that it never has.
pub(super) fn parts<C: Configured>(links: &Links) -> Result<Parts, LinkError> {
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
        .filter(|to| C::SERVICE.may_call(*to))
    {
        // A watch is empty until its first answer, so it begins before the first call.
        let _ = registry.watch(other);
    }
    let broker: Arc<dyn Broker> = match &links.broker {
        Some(url) if C::USES_BROKER => {
            let settings = rabbit::Settings::new(url.clone(), C::SERVICE.as_str());
            Arc::new(RabbitBroker::new(&settings, &breakers)?)
        }
        _ => Arc::new(NoBroker),
    };
    let settings = cache::Settings::default();
    let cache = match &links.cache {
        Some(redis) if C::USES_CACHE => {
            Cache::shared(settings, Redis::new(redis.clone(), &breakers)?)
        }
        _ => Cache::local(settings),
    };
    Ok(Parts {
        registry,
        broker,
        breakers,
        cache,
    })
}
