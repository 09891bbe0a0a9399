//! `sutazai token`: a short-lived access token from the key that lies on this machine.

use std::path::{Path, PathBuf};

use chrono::Utc;
use sutazai_auth::{
    AuthError,
    keys::{KeyError, SigningKey},
    principal::{DEFAULT_TENANT, Principal, Role},
    store::ADMIN_ID,
    token::issue_user,
};

use crate::{
    args::TokenArgs,
    screen::Screen,
    site::{Description, secrets::USERS},
};

/// Why no token could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The key can not be read.
    #[error("can not read {path}: has `sutazai dev` or `sutazai up` run on this folder?")]
    Read {
        /// The key file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The token could not be signed.
    #[error(transparent)]
    Sign(#[from] AuthError),
}

/// Prints a token for the administrator.
///
/// # Errors
/// Why the local key can not be used.
pub fn command(args: &TokenArgs, screen: &Screen) -> Result<(), Error> {
    let running = Description::read(&args.data);
    let keys = running.map_or_else(|_| args.data.join("keys"), |running| running.keys);
    let token = mint(&keys)?;
    if screen.is_json() {
        screen.event(&serde_json::json!({"access_token": token, "token_type": "Bearer"}));
    } else {
        screen.line(token);
    }
    Ok(())
}

/// Signs a token for the administrator with the users' key in `keys`.
///
/// # Errors
/// Why the key can not be used.
pub fn mint(keys: &Path) -> Result<String, Error> {
    let path = keys.join(format!("{USERS}.pem"));
    let pem = std::fs::read_to_string(&path).map_err(|source| Error::Read { path, source })?;
    let key = SigningKey::from_pem(&pem)?;
    let admin = Principal {
        subject: ADMIN_ID.to_string(),
        tenant: DEFAULT_TENANT.to_owned(),
        roles: vec![Role::Admin],
        scopes: None,
    };
    Ok(issue_user(&key, &admin, Utc::now())?.token)
}
