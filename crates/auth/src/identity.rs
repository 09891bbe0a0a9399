//! What a service is: its name, its key, and the keys of the others.

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use moka::sync::Cache;
use sutazai_mesh::{catalog::ServiceName, channel::ROUTING_KEY};
use sutazai_proto::status::chain;
use sutazai_resilience::Deadline;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};

use crate::{
    error::AuthError,
    keys::{Issuer, KeyError, KeySet, SigningKey},
    principal::Principal,
    token::{self, Verifier},
};

/// What a call keeps of its budget for the way back.
const KEPT: Duration = Duration::from_millis(50);
/// How long a token serves further calls to the same service for the same user: a third of its life.
/// Making one and checking its signature at the other end costs more than the rest of a short call.
const REUSED: TimeDelta = TimeDelta::seconds(20);
/// How many tokens are kept for that.
const REMEMBERED: u64 = 10_000;

/// A service's own identity, with which it calls and is called.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    service: ServiceName,
    key: SigningKey,
    verifier: Verifier,
    spoken: Cache<(ServiceName, Option<Principal>), Spoken>,
}

/// A token that was made, as it stands in a request.
#[derive(Clone, Debug)]
struct Spoken {
    authorization: AsciiMetadataValue,
    at: DateTime<Utc>,
}

impl Identity {
    /// Makes an identity from its parts.
    pub fn new(service: ServiceName, key: SigningKey, keys: KeySet) -> Self {
        Self(Arc::new(Inner {
            service,
            key,
            verifier: Verifier::new(keys),
            spoken: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(REUSED.to_std().unwrap_or(Duration::ZERO))
                .build(),
        }))
    }

    /// Says which key the files hold for the service, as evidence for people.
    ///
    /// # Errors
    /// As [`Self::from_files`], in one line.
    pub fn check(
        service: ServiceName,
        key_file: &Path,
        jwks_file: &Path,
    ) -> Result<String, String> {
        let identity =
            Self::from_files(service, key_file, jwks_file).map_err(|error| chain(&error))?;
        let kid = identity.0.key.public().kid();
        Ok(format!(
            "{service} signs with {kid}, which {} publishes",
            jwks_file.display()
        ))
    }

    /// Reads an identity from the service's private key and the published set.
    ///
    /// # Errors
    /// [`KeyError`] when a file can not be used, or when the set does not publish the key for this
    /// service.
    pub fn from_files(
        service: ServiceName,
        key_file: &Path,
        jwks_file: &Path,
    ) -> Result<Self, KeyError> {
        let key = SigningKey::from_file(key_file)?;
        let keys = KeySet::open(jwks_file)?;
        let published = keys.find(key.public().kid());
        if published.is_none_or(|found| found.issuer != Issuer::Service(service)) {
            return Err(KeyError::NotPublished {
                service,
                path: jwks_file.to_owned(),
            });
        }
        Ok(Self::new(service, key, keys))
    }

    /// Returns whose identity this is.
    pub fn service(&self) -> ServiceName {
        self.0.service
    }

    /// Returns the verifier over the published keys.
    pub fn verifier(&self) -> &Verifier {
        &self.0.verifier
    }

    /// Makes a request to another service: this service's own short token, the user it speaks for,
    /// and what is left of the time.
    ///
    /// # Errors
    /// [`AuthError::DeadlineExceeded`] when nothing is left: the call is then not worth making.
    pub fn request<T>(
        &self,
        to: ServiceName,
        on_behalf: Option<&Principal>,
        deadline: Deadline,
        message: T,
    ) -> Result<tonic::Request<T>, AuthError> {
        let mut request = tonic::Request::new(message);
        self.authorize(request.metadata_mut(), to, on_behalf, deadline)?;
        Ok(request)
    }

    fn authorize(
        &self,
        metadata: &mut MetadataMap,
        to: ServiceName,
        on_behalf: Option<&Principal>,
        deadline: Deadline,
    ) -> Result<(), AuthError> {
        let budget = deadline.less(KEPT);
        if budget.is_over() {
            return Err(AuthError::DeadlineExceeded);
        }
        metadata.insert(
            "authorization",
            self.authorization(to, on_behalf, Utc::now())?,
        );
        if let Some(principal) = on_behalf {
            // Where a service is balanced by key, the calls for one user meet the same instance.
            metadata.insert(ROUTING_KEY, ascii(&principal.subject)?);
        }
        metadata.insert("grpc-timeout", ascii(&budget.to_grpc_timeout())?);
        Ok(())
    }

    /// Returns a token that was made a moment ago, or makes one.
    fn authorization(
        &self,
        to: ServiceName,
        on_behalf: Option<&Principal>,
        now: DateTime<Utc>,
    ) -> Result<AsciiMetadataValue, AuthError> {
        let whom = (to, on_behalf.cloned());
        // By the clock that its reader judges it by: that one may have been set meanwhile.
        let fits = |spoken: &Spoken| (TimeDelta::zero()..REUSED).contains(&(now - spoken.at));
        if let Some(spoken) = self.0.spoken.get(&whom).filter(fits) {
            return Ok(spoken.authorization);
        }
        let Inner { service, key, .. } = &*self.0;
        let issued = token::issue_service(key, *service, to, on_behalf, now)?;
        let mut authorization = ascii(&format!("Bearer {}", issued.token))?;
        // Kept out of logs and of the compression table of the connection.
        authorization.set_sensitive(true);
        let spoken = Spoken {
            authorization: authorization.clone(),
            at: now,
        };
        self.0.spoken.insert(whom, spoken);
        Ok(authorization)
    }
}

fn ascii(text: &str) -> Result<AsciiMetadataValue, AuthError> {
    AsciiMetadataValue::try_from(text).map_err(AuthError::Metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        keys::PublishedKey,
        principal::{DEFAULT_TENANT, Role},
    };

    #[test]
    fn sec_14_a_token_serves_like_calls_for_a_while_and_no_others() {
        let key = SigningKey::generate().unwrap();
        let keys = KeySet::fixed([PublishedKey {
            issuer: Issuer::Service(ServiceName::Backend),
            key: key.public().clone(),
        }]);
        let identity = Identity::new(ServiceName::Backend, key, keys);
        let alice = Principal {
            subject: "alice".to_owned(),
            tenant: DEFAULT_TENANT.to_owned(),
            roles: vec![Role::User],
            scopes: None,
        };
        let viewer = Principal {
            roles: vec![Role::Viewer],
            ..alice.clone()
        };
        let now = Utc::now();
        let to = ServiceName::TaskCoordinator;
        let say = |to, whom, seconds| {
            let then = now + TimeDelta::seconds(seconds);
            identity.authorization(to, whom, then).unwrap()
        };
        let first = say(to, Some(&alice), 0);
        assert_eq!(say(to, Some(&alice), 19), first);
        assert_ne!(say(ServiceName::OllamaProxy, Some(&alice), 0), first);
        assert_ne!(say(to, Some(&viewer), 0), first);
        assert_ne!(say(to, None, 0), first);
        let later = say(to, Some(&alice), 20);
        assert_ne!(later, first, "a third of its life is over");
        assert_ne!(say(to, Some(&alice), 0), later, "the clock was set back");
    }
}
