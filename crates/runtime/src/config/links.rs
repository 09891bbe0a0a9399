//! How a process of its own reaches what services share: the registry, the broker and the cache.
//!
//! These settings belong to the process, not to the service: a platform in one process hands the
//! shared parts in, and nobody is asked for them.

use std::{num::NonZeroU16, str::FromStr};

use secrecy::SecretString;
use sutazai_persistence::redis;

use super::{
    Configured, Profile, Reader, Strength,
    url::{self, UrlParts},
};

const BROKER: &str = "AMQP_URL";
/// Another name of the same setting.
const BROKER_ALIAS: &str = "RABBITMQ_URL";
/// Standard port of AMQP.
const AMQP_PORT: u16 = 5672;

/// How a process of its own reaches what all services share.
#[derive(Clone, Debug)]
pub struct Links {
    /// Where everybody is found.
    pub registry: RegistryLink,
    /// The broker, as `amqp://user:password@host:port/vhost`; absent for a service that uses none.
    pub broker: Option<SecretString>,
    /// The Redis behind the cache; absent where none is configured, and for a service without cache.
    pub cache: Option<redis::Settings>,
}

/// How the registry is reached, and what the process says there about itself.
#[derive(Clone, Debug)]
pub struct RegistryLink {
    /// Base URL of Consul's HTTP API.
    pub address: String,
    /// Token with the rights of this service.
    pub token: Option<SecretString>,
    /// Part of the network that the process runs in.
    pub zone: Option<String>,
    /// Share of the calls, compared with other instances.
    pub weight: Option<NonZeroU16>,
}

impl Links {
    /// Reads the settings of the links that the service `C` uses.
    pub(crate) fn read<C: Configured>(reader: &mut Reader<'_>) -> Option<Self> {
        let registry = registry(reader);
        let broker = C::USES_BROKER.then(|| broker(reader));
        let broker = match broker {
            Some(url) => Some(url?),
            None => None,
        };
        let cache = C::USES_CACHE.then(|| super::redis(reader)).flatten();
        Some(Self {
            registry: registry?,
            broker,
            cache,
        })
    }
}

fn registry(reader: &mut Reader<'_>) -> Option<RegistryLink> {
    let address: Option<HttpAddress> = reader.required(
        "CONSUL_HTTP_ADDR",
        "address of Consul's HTTP API, where all services are found",
    );
    let token = reader.optional_secret(
        "CONSUL_HTTP_TOKEN",
        "token for Consul, where its access control is on",
        Strength::Any,
    );
    let zone = reader.optional(
        "SERVICE_ZONE",
        "part of the network that the process runs in, as others see it in the registry",
    );
    let weight = reader.optional(
        "SERVICE_WEIGHT",
        "share of the calls that this instance should get, compared with the others; 1 when absent",
    );
    Some(RegistryLink {
        address: address?.0,
        token,
        zone,
        weight,
    })
}

/// `AMQP_URL` counts when it is set, by whichever name, else the parts when `RABBITMQ_HOST` is.
fn broker(reader: &mut Reader<'_>) -> Option<SecretString> {
    reader.alias(BROKER, BROKER_ALIAS);
    let whole = [BROKER, BROKER_ALIAS]
        .iter()
        .any(|name| reader.is_set(name));
    if !whole && reader.is_set("RABBITMQ_HOST") {
        return broker_from_parts(reader);
    }
    let doc = "the broker, as amqp://user:password@host:port/vhost";
    url::whole(reader, BROKER, doc, ["amqp", "amqps"])
}

fn broker_from_parts(reader: &mut Reader<'_>) -> Option<SecretString> {
    let host: Option<String> = reader.required("RABBITMQ_HOST", "host of the broker");
    let port = reader.within(
        "RABBITMQ_PORT",
        "port of the broker",
        AMQP_PORT,
        1..=u16::MAX,
    );
    let doc = "login at the broker";
    let user = reader.or("RABBITMQ_DEFAULT_USER", doc, "sutazai".to_owned());
    if user == "guest" && reader.profile() == Profile::Production {
        let rule = "is the login that every installation has; make one of its own";
        reader.fault("RABBITMQ_DEFAULT_USER", rule);
    }
    let doc = "password of the login at the broker";
    let password = reader.secret("RABBITMQ_DEFAULT_PASS", doc, Strength::Any);
    let (host, password) = (host?, password?);
    let url = UrlParts {
        scheme: "amqp",
        user: &user,
        password: Some(&password),
        host: &host,
        port,
        path: "/",
    };
    Some(url.join())
}

/// A base URL; as for Consul's own tools, the scheme may be missing.
struct HttpAddress(String);

/// The text is no [`HttpAddress`].
#[derive(Debug, thiserror::Error)]
#[error("expected host:port, or http://host:port")]
struct NoHttpAddress;

impl FromStr for HttpAddress {
    type Err = NoHttpAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let authority = rest.trim_end_matches('/');
        let plain = !authority.is_empty() && !authority.contains(['/', '@', ' ']);
        if !plain || !["http", "https"].contains(&scheme) {
            return Err(NoHttpAddress);
        }
        Ok(Self(format!("{scheme}://{authority}")))
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;
    use sutazai_mesh::catalog::ServiceName;

    use super::{
        super::{Faults, Source},
        *,
    };

    struct Sender;
    struct Loner;

    impl Configured for Sender {
        const SERVICE: ServiceName = ServiceName::TaskCoordinator;

        fn read(_: &mut Reader<'_>) -> Option<Self> {
            Some(Self)
        }
    }

    impl Configured for Loner {
        const SERVICE: ServiceName = ServiceName::Backend;
        const USES_BROKER: bool = false;

        fn read(_: &mut Reader<'_>) -> Option<Self> {
            Some(Self)
        }
    }

    fn read<C: Configured>(profile: &str, pairs: &[(&str, &str)]) -> Result<Links, Faults> {
        let source = Source::from_pairs(pairs.iter().copied())
            .with(Profile::SETTING, profile)
            .with("CONSUL_HTTP_ADDR", "registry:8500");
        let mut reader = Reader::new(&source);
        let links = Links::read::<C>(&mut reader);
        reader.finish(links).map(|loaded| loaded.config)
    }

    fn broker(pairs: &[(&str, &str)]) -> Result<String, String> {
        let links = read::<Sender>("dev", pairs).map_err(|faults| faults.to_string())?;
        let url = links.broker.map(|url| url.expose_secret().to_owned());
        Ok(url.unwrap_or_default())
    }

    #[test]
    fn cfg_04_the_broker_is_named_whole_by_either_name_or_in_parts() {
        let url = "amqp://u:s3cr3t-of-ours@mq:5672/%2f";
        assert_eq!(broker(&[("AMQP_URL", url)]).unwrap(), url);
        assert_eq!(broker(&[("RABBITMQ_URL", url)]).unwrap(), url);
        let parts = [
            ("RABBITMQ_HOST", "mq"),
            ("RABBITMQ_DEFAULT_USER", "u"),
            ("RABBITMQ_DEFAULT_PASS", "a/b"),
        ];
        assert_eq!(broker(&parts).unwrap(), "amqp://u:a%2Fb@mq:5672/%2F");
    }

    #[test]
    fn cfg_04_two_names_with_two_values_are_a_conflict() {
        let both = [
            ("AMQP_URL", "amqp://u:one-of-two@mq/"),
            ("RABBITMQ_URL", "amqp://u:two-of-two@mq/"),
        ];
        let faults = broker(&both).unwrap_err();
        assert!(
            faults.contains("AMQP_URL and RABBITMQ_URL are both set"),
            "{faults}"
        );
        assert!(!faults.contains("of-two"), "{faults}");
    }

    #[test]
    fn cfg_02_the_login_that_every_broker_has_is_refused() {
        assert!(
            broker(&[("AMQP_URL", "amqp://guest:guest@mq/")])
                .unwrap_err()
                .contains("sample")
        );
        let parts = [
            ("RABBITMQ_HOST", "mq"),
            ("RABBITMQ_DEFAULT_USER", "guest"),
            ("RABBITMQ_DEFAULT_PASS", "guest"),
        ];
        let faults = read::<Sender>("production", &parts).unwrap_err();
        let names: Vec<_> = faults.as_slice().iter().map(|f| f.name.as_str()).collect();
        // By value too, which production refuses.
        assert_eq!(names, ["RABBITMQ_DEFAULT_USER", "RABBITMQ_DEFAULT_PASS"]);
    }

    #[test]
    fn who_sends_no_message_is_asked_for_no_broker() {
        let links = read::<Loner>("production", &[]).unwrap();
        assert!(links.broker.is_none());
        let faults = read::<Sender>("production", &[]).unwrap_err();
        assert_eq!(faults.as_slice()[0].name, BROKER);
    }

    #[test]
    fn an_address_is_completed_as_consuls_tools_do() {
        for (given, wanted) in [
            ("consul:8500", "http://consul:8500"),
            ("https://consul:8501/", "https://consul:8501"),
        ] {
            assert_eq!(given.parse::<HttpAddress>().unwrap().0, wanted);
        }
        for bad in ["", "ftp://consul", "http://u:p@consul:8500"] {
            assert!(bad.parse::<HttpAddress>().is_err(), "{bad}");
        }
    }
}
