//! The published set: one JWKS file, read again when it changes.

use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use sutazai_proto::status::chain;

use super::{Issuer, KeyError, PublicKey};

/// At most this often does the set look whether its file has changed, however many tokens name an
/// unknown key. It is also how long a withdrawn key is still accepted.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Public keys by id, each bound to its issuer.
#[derive(Clone, Debug)]
pub struct KeySet(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    keys: RwLock<HashMap<String, Arc<PublishedKey>>>,
    file: Option<Watched>,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    looked_at: Instant,
    version: Option<Version>,
}

/// Differs when the file differs: writers replace it by another one.
type Version = (u64, u64, Option<SystemTime>);

/// A key and the only issuer it may sign for.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    /// Whose key it is.
    pub issuer: Issuer,
    /// The key.
    pub key: PublicKey,
}

#[derive(Serialize, Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

/// A key as RFC 7517 and RFC 8037 write it, with a member of ours for its issuer.
#[derive(Serialize, Deserialize)]
struct Jwk {
    kty: String,
    crv: String,
    #[serde(rename = "use")]
    purpose: String,
    alg: String,
    kid: String,
    x: String,
    iss: String,
}

impl KeySet {
    /// Reads the set from a file and follows its changes.
    ///
    /// # Errors
    /// [`KeyError`] when the file can not be read or a key in it can not be used.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        // The version first: a change in between is then seen at the next look.
        let version = version(path);
        let keys = read(path)?;
        Ok(Self(Arc::new(Inner {
            keys: RwLock::new(keys),
            file: Some(Watched {
                path: path.to_owned(),
                seen: Mutex::new(Seen {
                    looked_at: Instant::now(),
                    version,
                }),
            }),
        })))
    }

    /// Makes a set that does not change.
    pub fn fixed(keys: impl IntoIterator<Item = PublishedKey>) -> Self {
        let keys = keys
            .into_iter()
            .map(|key| (key.key.kid().to_owned(), Arc::new(key)));
        Self(Arc::new(Inner {
            keys: RwLock::new(keys.collect()),
            file: None,
        }))
    }

    /// Returns the key of an id, from the file as it is now (give or take a second).
    pub fn find(&self, kid: &str) -> Option<Arc<PublishedKey>> {
        self.refresh();
        self.0.keys.read().get(kid).cloned()
    }

    /// Renders the public keys of one issuer as a JWKS document, for publishing.
    pub fn jwks(&self, issuer: Issuer) -> serde_json::Value {
        let keys = self.of(issuer);
        let keys: Vec<_> = keys.iter().map(|key| Jwk::of(key)).collect();
        serde_json::json!({ "keys": keys })
    }

    /// Returns the keys of one issuer in the order of their ids.
    pub fn of(&self, issuer: Issuer) -> Vec<Arc<PublishedKey>> {
        self.refresh();
        let keys = self.0.keys.read();
        let of_issuer = keys.values().filter(|key| key.issuer == issuer);
        let mut keys: Vec<_> = of_issuer.cloned().collect();
        keys.sort_by(|a, b| a.key.kid().cmp(b.key.kid()));
        keys
    }

    /// Reads the file again if it has changed. A file that can not be used leaves the keys as they
    /// are: a slip of an editor must not log everybody out.
    fn refresh(&self) {
        let Some(file) = &self.0.file else { return };
        // Whoever finds the lock taken uses what is there; the holder is looking.
        let Some(mut seen) = file.seen.try_lock() else {
            return;
        };
        if seen.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        seen.looked_at = Instant::now();
        let version = version(&file.path);
        if version == seen.version {
            return;
        }
        seen.version = version;
        match read(&file.path) {
            Ok(keys) => {
                tracing::info!(path = %file.path.display(), keys = keys.len(), "key set read again");
                *self.0.keys.write() = keys;
            }
            Err(error) => {
                let error = chain(&error);
                tracing::error!(path = %file.path.display(), error, "key set can not be read, the one before stays");
            }
        }
    }
}

/// Writes a set for others to [`open`](KeySet::open); readers see the one before or this one,
/// never a part.
///
/// # Errors
/// [`KeyError::File`] when the file can not be written.
pub fn write_jwks(path: &Path, keys: &[(Issuer, PublicKey)]) -> Result<(), KeyError> {
    let keys = keys.iter().map(|(issuer, key)| PublishedKey {
        issuer: *issuer,
        key: key.clone(),
    });
    let document = Document {
        keys: keys.map(|key| Jwk::of(&key)).collect(),
    };
    let text = serde_json::to_vec_pretty(&document).map_err(KeyError::Set)?;
    let beside = path.with_extension(format!("{}.part", process::id()));
    fs::write(&beside, text)
        .and_then(|()| fs::rename(&beside, path))
        .map_err(|source| file_fault(path, source))
}

fn read(path: &Path) -> Result<HashMap<String, Arc<PublishedKey>>, KeyError> {
    let text = fs::read(path).map_err(|source| file_fault(path, source))?;
    let document: Document = serde_json::from_slice(&text).map_err(KeyError::Set)?;
    let mut keys = HashMap::new();
    for jwk in document.keys {
        let kid = jwk.kid.clone();
        let fault = |fault| KeyError::Member {
            kid: kid.clone(),
            fault,
        };
        let key = jwk.read().map_err(fault)?;
        if keys.insert(kid.clone(), Arc::new(key)).is_some() {
            return Err(fault("it is there twice"));
        }
    }
    Ok(keys)
}

fn version(path: &Path) -> Option<Version> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.len(), meta.modified().ok()))
}

fn file_fault(path: &Path, source: io::Error) -> KeyError {
    KeyError::File {
        path: path.to_owned(),
        source,
    }
}

impl Jwk {
    fn of(published: &PublishedKey) -> Self {
        Self {
            kty: "OKP".to_owned(),
            crv: "Ed25519".to_owned(),
            purpose: "sig".to_owned(),
            alg: "EdDSA".to_owned(),
            kid: published.key.kid().to_owned(),
            x: published.key.x(),
            iss: published.issuer.to_string(),
        }
    }

    fn read(self) -> Result<PublishedKey, &'static str> {
        let kind = [&self.kty, &self.crv, &self.purpose, &self.alg];
        if kind != ["OKP", "Ed25519", "sig", "EdDSA"] {
            return Err("it is no Ed25519 signature key");
        }
        let key = PublicKey::from_x(&self.x).ok_or("its `x` is not 32 bytes in base64url")?;
        if key.kid() != self.kid {
            return Err("its `kid` is not its thumbprint");
        }
        let issuer = self
            .iss
            .parse()
            .map_err(|_| "its `iss` is no issuer of this platform")?;
        Ok(PublishedKey { issuer, key })
    }
}
