//! What belongs to this machine: the keys of users' tokens, and the origins of other sites.

use backend::AllowedOrigins;
use sutazai_auth::keys::{Issuer, KeySet};
use sutazai_gateway::kong::{self, Site, TokenKey, entity::Declaration};

use super::Error;
use crate::args::SiteArgs;

/// Returns the configuration of this machine.
///
/// # Errors
/// The keys can not be read, or an origin is none.
pub(super) fn declaration(args: &SiteArgs) -> Result<Declaration, Error> {
    let path = args.jwks.clone();
    let path = path.unwrap_or_else(|| args.data.join("jwks.json"));
    let keys = KeySet::open(&path).map_err(|source| Error::Keys { path, source })?;
    // No service comes in by the gateway, so the keys of services stay out of it.
    let keys = keys
        .of(Issuer::Platform)
        .into_iter()
        .map(|published| TokenKey {
            id: published.key.kid().to_owned(),
            pem: published.key.to_pem(),
        });
    Ok(kong::declaration(&Site {
        keys: keys.collect(),
        origins: origins(args)?,
    }))
}

/// Returns the origins, by the backend's own rules.
///
/// # Errors
/// One of them is none, or stands for every site.
pub(super) fn origins(args: &SiteArgs) -> Result<Vec<String>, Error> {
    let list: AllowedOrigins = args.origins.join(",").parse()?;
    let list = list.to_string();
    let origins = list.split(',').filter(|origin| !origin.is_empty());
    Ok(origins.map(str::to_owned).collect())
}
