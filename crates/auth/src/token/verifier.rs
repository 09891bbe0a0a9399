//! The one place where a token is judged.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use moka::sync::Cache;
use serde::Deserialize;

use super::{Audience, Claims, SKEW, TOKEN_LIMIT, USER_LIFE};
use crate::{
    crypto,
    error::{AuthError, Refusal},
    keys::{Issuer, KeySet, PublishedKey},
    principal::Principal,
};

/// How many verified tokens are remembered.
const REMEMBERED: u64 = 10_000;
/// The only algorithm. It is never taken from the token.
const ALGORITHM: Algorithm = Algorithm::EdDSA;
const ALGORITHM_NAME: &str = "EdDSA";

/// Judges tokens against the published keys.
#[derive(Clone, Debug)]
pub struct Verifier {
    keys: KeySet,
    /// Tokens whose signature held, by SHA-256: a signature costs more than a proxied request.
    /// Everything else about a token is judged every time.
    remembered: Cache<[u8; 32], Arc<Signed>>,
}

/// What a token that held says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who signed it.
    pub issuer: Issuer,
    /// For whom it speaks; a service may speak for itself alone.
    pub principal: Option<Principal>,
    /// End of its life.
    pub expires_at: DateTime<Utc>,
    /// Its own id.
    pub id: String,
}

/// A token whose signature holds.
#[derive(Debug)]
struct Signed {
    header: Header,
    claims: Claims,
}

/// The protected header. Any other member (`jku`, `x5c`, `jwk`, `zip`, `crit`, …) refuses the
/// token, as does a member that is there twice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

impl Verifier {
    /// Makes a verifier over the published keys.
    pub fn new(keys: KeySet) -> Self {
        crypto::install();
        let whole_life = (USER_LIFE + SKEW).to_std().unwrap_or(Duration::ZERO);
        Self {
            keys,
            remembered: Cache::builder()
                .max_capacity(REMEMBERED)
                .time_to_live(whole_life)
                .build(),
        }
    }

    /// Returns the published keys.
    pub fn keys(&self) -> &KeySet {
        &self.keys
    }

    /// Judges a token that arrived now.
    ///
    /// # Errors
    /// [`AuthError::Expired`], or [`AuthError::Invalid`] for everything else.
    pub fn verify(&self, token: &str, audience: Audience) -> Result<Verified, AuthError> {
        self.verify_at(token, audience, Utc::now())
    }

    /// Judges a token that arrived at the given time.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub fn verify_at(
        &self,
        token: &str,
        audience: Audience,
        now: DateTime<Utc>,
    ) -> Result<Verified, AuthError> {
        if token.len() > TOKEN_LIMIT {
            return Err(Refusal::TooLong.into());
        }
        let slot = crypto::sha256(token.as_bytes());
        if let Some(signed) = self.remembered.get(&slot) {
            // The key may have been withdrawn since.
            let Some(key) = self.keys.find(&signed.header.kid) else {
                self.remembered.invalidate(&slot);
                return Err(Refusal::UnknownKey.into());
            };
            return judge(&signed, &key, audience, now);
        }
        let (signed, key) = self.check_signature(token)?;
        let verified = judge(&signed, &key, audience, now)?;
        self.remembered.insert(slot, Arc::new(signed));
        Ok(verified)
    }

    fn check_signature(&self, token: &str) -> Result<(Signed, Arc<PublishedKey>), Refusal> {
        let (message, signature) = token.rsplit_once('.').ok_or(Refusal::Header)?;
        let (header, payload) = message.split_once('.').ok_or(Refusal::Header)?;
        let header: Header = part(header).ok_or(Refusal::Header)?;
        if header.alg != ALGORITHM_NAME {
            return Err(Refusal::Algorithm);
        }
        let key = self.keys.find(&header.kid).ok_or(Refusal::UnknownKey)?;
        let decoding = key.key.decoding();
        let holds =
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), decoding, ALGORITHM);
        if !holds.unwrap_or(false) {
            return Err(Refusal::Signature);
        }
        let claims = part(payload).ok_or(Refusal::Claims)?;
        Ok((Signed { header, claims }, key))
    }
}

/// Judges what a signed token says.
fn judge(
    signed: &Signed,
    key: &PublishedKey,
    audience: Audience,
    now: DateTime<Utc>,
) -> Result<Verified, AuthError> {
    let Signed { header, claims } = signed;
    if header.typ != audience.token_type() {
        return Err(Refusal::Type.into());
    }
    let issuer = claims.iss.parse::<Issuer>().map_err(|_| Refusal::Issuer)?;
    if issuer != key.issuer || !audience.accepts(issuer) {
        return Err(Refusal::Issuer.into());
    }
    if claims.aud != audience.name() {
        return Err(Refusal::Audience.into());
    }
    let expires_at = judge_times(claims, audience, now)?;
    if claims.jti.is_empty() {
        return Err(Refusal::Claims.into());
    }
    let principal = principal(claims, audience)?;
    Ok(Verified {
        issuer,
        principal,
        expires_at,
        id: claims.jti.clone(),
    })
}

fn judge_times(
    claims: &Claims,
    audience: Audience,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, AuthError> {
    let instant = |seconds| DateTime::from_timestamp(seconds, 0).ok_or(Refusal::Claims);
    let [issued, begins, expires] = [claims.iat, claims.nbf, claims.exp].map(instant);
    let (issued, begins, expires) = (issued?, begins?, expires?);
    if expires <= issued || expires - issued > audience.life() {
        return Err(Refusal::Lifetime.into());
    }
    if now - expires >= SKEW {
        return Err(AuthError::Expired);
    }
    if begins - now > SKEW || issued - now > SKEW {
        return Err(Refusal::NotYet.into());
    }
    Ok(expires)
}

fn principal(claims: &Claims, audience: Audience) -> Result<Option<Principal>, Refusal> {
    let Some(tenant) = &claims.tenant else {
        // A service that speaks for itself says nothing about a user.
        let alone = claims.sub == claims.iss && claims.roles.is_empty() && claims.scopes.is_none();
        return match audience {
            Audience::Service(_) if alone => Ok(None),
            _ => Err(Refusal::Principal),
        };
    };
    let principal = Principal {
        subject: claims.sub.clone(),
        tenant: tenant.clone(),
        roles: claims.roles.clone(),
        scopes: claims
            .scopes
            .as_ref()
            .map(|scopes| scopes.iter().copied().collect()),
    };
    if principal.is_well_formed() {
        Ok(Some(principal))
    } else {
        Err(Refusal::Principal)
    }
}

/// Reads one part of a token: base64url without padding or stray bits, then JSON.
fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
