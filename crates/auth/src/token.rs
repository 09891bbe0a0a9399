//! Access tokens: made, and judged by one verifier at every door.

mod verifier;

use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{Algorithm, Header};
use serde::{Deserialize, Serialize};
use sutazai_mesh::catalog::ServiceName;
use uuid::Uuid;

use crate::{
    crypto,
    error::AuthError,
    keys::{Issuer, SigningKey},
    permission::Permission,
    principal::{Principal, Role},
};

pub use verifier::{Verified, Verifier};

/// Life of a user's token.
pub const USER_LIFE: TimeDelta = TimeDelta::minutes(5);
/// Life of a service's token.
pub const SERVICE_LIFE: TimeDelta = TimeDelta::seconds(60);
/// How far the clocks of two machines may differ.
pub const SKEW: TimeDelta = TimeDelta::seconds(30);
/// Longest token, in bytes.
pub const TOKEN_LIMIT: usize = 4096;

/// For whom a token is meant, which also decides its type and who may issue it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Audience {
    /// The doors of the platform: a user's token.
    Doors,
    /// One service: the token of a service that calls it.
    Service(ServiceName),
}

/// What a token says (RFC 7519, RFC 9068).
///
/// Times are whole seconds; an audience is one name, never a list. A claim that is unknown refuses
/// the token: it may have been meant to narrow it. So verifiers learn a further claim one release
/// before issuers write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    iss: String,
    aud: String,
    /// The account; in a token without a principal, the calling service.
    sub: String,
    exp: i64,
    nbf: i64,
    iat: i64,
    jti: String,
    /// Present exactly when the token speaks for a principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    roles: Vec<Role>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scopes: Option<Vec<Permission>>,
}

/// A token with the end of its life.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token, ready for an `Authorization: Bearer` header.
    pub token: String,
    /// From when on it is refused, clock differences aside.
    pub expires_at: DateTime<Utc>,
}

impl Audience {
    const DOORS: &str = "sutazai";

    fn name(self) -> &'static str {
        match self {
            Self::Doors => Self::DOORS,
            Self::Service(name) => name.as_str(),
        }
    }

    /// The media type of the token: one of another kind is refused before its claims are read.
    fn token_type(self) -> &'static str {
        match self {
            Self::Doors => "at+jwt",
            Self::Service(_) => "service+jwt",
        }
    }

    fn life(self) -> TimeDelta {
        match self {
            Self::Doors => USER_LIFE,
            Self::Service(_) => SERVICE_LIFE,
        }
    }

    fn accepts(self, issuer: Issuer) -> bool {
        match self {
            Self::Doors => issuer == Issuer::Platform,
            Self::Service(_) => issuer != Issuer::Platform,
        }
    }
}

/// Makes a user's token, for the doors.
///
/// # Errors
/// [`AuthError::Signing`] when the key can not sign.
pub fn issue_user(
    key: &SigningKey,
    principal: &Principal,
    now: DateTime<Utc>,
) -> Result<Issued, AuthError> {
    issue(key, Issuer::Platform, Audience::Doors, Some(principal), now)
}

/// Makes the token of one service for a call to another, perhaps on behalf of a user.
///
/// # Errors
/// [`AuthError::Signing`] when the key can not sign.
pub fn issue_service(
    key: &SigningKey,
    from: ServiceName,
    to: ServiceName,
    on_behalf: Option<&Principal>,
    now: DateTime<Utc>,
) -> Result<Issued, AuthError> {
    let (issuer, audience) = (Issuer::Service(from), Audience::Service(to));
    issue(key, issuer, audience, on_behalf, now)
}

fn issue(
    key: &SigningKey,
    issuer: Issuer,
    audience: Audience,
    principal: Option<&Principal>,
    now: DateTime<Utc>,
) -> Result<Issued, AuthError> {
    crypto::install();
    let expires_at = now + audience.life();
    let issuer = issuer.to_string();
    let claims = Claims {
        aud: audience.name().to_owned(),
        sub: principal.map_or_else(|| issuer.clone(), |p| p.subject.clone()),
        iss: issuer,
        exp: expires_at.timestamp(),
        nbf: now.timestamp(),
        iat: now.timestamp(),
        jti: Uuid::new_v4().to_string(),
        tenant: principal.map(|p| p.tenant.clone()),
        roles: principal.map(|p| p.roles.clone()).unwrap_or_default(),
        scopes: principal
            .and_then(|p| p.scopes.as_ref())
            .map(|scopes| scopes.iter().copied().collect()),
    };
    let header = Header {
        typ: Some(audience.token_type().to_owned()),
        kid: Some(key.public().kid().to_owned()),
        ..Header::new(Algorithm::EdDSA)
    };
    let token =
        jsonwebtoken::encode(&header, &claims, key.encoding()).map_err(AuthError::Signing)?;
    Ok(Issued { token, expires_at })
}
