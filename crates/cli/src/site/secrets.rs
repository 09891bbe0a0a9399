//! The secrets and keys of a development platform, made at its first start.

use std::{
    io,
    path::{Path, PathBuf},
};

use secrecy::ExposeSecret;
use sutazai_auth::{
    api_key::ApiKey,
    keys::{self, Issuer, KeyError, SigningKey},
};
use sutazai_mesh::catalog::ServiceName;

use super::{Error, folder::Folder};
use crate::secret_file;

/// Issuer of users' tokens; the name of their key file.
pub(crate) const USERS: &str = "users";
/// Second part of the API key that `sutazai dev` makes.
const ENVIRONMENT: &str = "dev";

/// Paths of the files that hold the secrets; nothing here is a secret itself.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// The administrator's API key.
    pub api_key: PathBuf,
    /// The administrator's password.
    pub admin_password: PathBuf,
    /// Key of the signature on cursors.
    pub cursor_key: PathBuf,
    /// All public keys.
    pub jwks: PathBuf,
    keys: PathBuf,
}

impl Secrets {
    /// Makes what is missing and leaves the rest alone.
    ///
    /// # Errors
    /// Why a file can not be read or written, or a key be made.
    pub fn ensure(folder: &Folder) -> Result<Self, Error> {
        let secrets = Self {
            api_key: folder.path("api-key"),
            admin_password: folder.path("secrets/admin-password"),
            cursor_key: folder.path("secrets/cursor-key"),
            jwks: folder.path("jwks.json"),
            keys: folder.path("keys"),
        };
        secret_file::ensure::<Error>(&secrets.api_key, || {
            let key = ApiKey::generate(ENVIRONMENT).ok_or(Error::ApiKey)?;
            Ok(key.expose().to_owned())
        })?;
        for path in [&secrets.admin_password, &secrets.cursor_key] {
            secret_file::ensure::<Error>(path, || Ok(secret_file::random()))?;
        }
        secrets.write_public_keys()?;
        Ok(secrets)
    }

    /// Returns the path of a service's private key.
    pub fn key_of(&self, service: ServiceName) -> PathBuf {
        self.keys.join(format!("{service}.pem"))
    }

    /// Returns the path of the private key that signs users' tokens.
    pub fn user_key(&self) -> PathBuf {
        self.keys.join(format!("{USERS}.pem"))
    }

    fn write_public_keys(&self) -> Result<(), Error> {
        let services = ServiceName::ALL.map(|name| (Issuer::Service(name), self.key_of(name)));
        let issuers = [(Issuer::Platform, self.user_key())]
            .into_iter()
            .chain(services);
        let public = issuers
            .map(|(issuer, path)| Ok((issuer, ensure_key::<Error>(&path)?.public().clone())));
        let public = public.collect::<Result<Vec<_>, Error>>()?;
        Ok(keys::write_jwks(&self.jwks, &public)?)
    }
}

/// Reads a private key, and makes it first where there is none.
pub(crate) fn ensure_key<E: From<io::Error> + From<KeyError>>(
    path: &Path,
) -> Result<SigningKey, E> {
    let make = || Ok(SigningKey::generate()?.to_pem().expose_secret().to_owned());
    Ok(SigningKey::from_pem(&secret_file::ensure::<E>(
        path, make,
    )?)?)
}

/// Names the file, in a folder of secrets, with the password of a database role.
pub(crate) fn database_password_file(secrets: &Path, role: &str) -> PathBuf {
    secrets.join(format!("postgres-{role}"))
}

/// Reads or makes the password of a database role.
pub(crate) fn database_password(folder: &Folder, role: &str) -> Result<String, Error> {
    let path = database_password_file(&folder.path("secrets"), role);
    secret_file::ensure::<Error>(&path, || Ok(secret_file::random()))
}
