//! Signing keys, and the published set that tells which key belongs to which issuer.

mod set;

use std::{
    fmt, fs, io, os::unix::fs::PermissionsExt, path::Path, path::PathBuf, str::FromStr, sync::Arc,
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{DecodingKey, EncodingKey};
use ring::{
    hkdf,
    signature::{Ed25519KeyPair, KeyPair},
};
use secrecy::{ExposeSecret, SecretString};
use sutazai_mesh::catalog::ServiceName;

use crate::crypto::sha256;

pub use set::{KeySet, PublishedKey, write_jwks};

/// What precedes the 32 bytes of the seed in a PKCS#8 v1 document of an Ed25519 key (RFC 8410).
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// What precedes the 32 bytes of a public Ed25519 key in its document (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];
const SEED: usize = 32;
const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// Purpose under which a secret seeds the key of users' tokens ([`SigningKey::from_secret`]).
pub const USER_TOKENS: &str = "user tokens";

/// Who signs tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Issuer {
    /// The platform, for its users.
    Platform,
    /// A service, for its own calls to other services.
    Service(ServiceName),
}

/// A private Ed25519 key.
#[derive(Clone)]
pub struct SigningKey(Arc<Private>);

/// The private half is wiped from memory with its last user.
struct Private {
    encoding: EncodingKey,
    public: PublicKey,
}

/// A public Ed25519 key with its id.
#[derive(Clone)]
pub struct PublicKey {
    bytes: [u8; SEED],
    kid: String,
    decoding: DecodingKey,
}

/// A key file that can not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file can not be read or written.
    #[error("key file {}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read the private key.
    #[error("key file {} is readable by others than its owner: chmod 600 it", .path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
    },
    /// The text is no private Ed25519 key.
    #[error(
        "not an Ed25519 private key in PKCS#8 PEM (`openssl genpkey -algorithm ed25519` makes one)"
    )]
    NotEd25519,
    /// The published set can not be read.
    #[error("not a JSON Web Key Set")]
    Set(#[source] serde_json::Error),
    /// A key of the published set can not be used.
    #[error("key `{kid}` of the set: {fault}")]
    Member {
        /// Which key.
        kid: String,
        /// What is wrong with it.
        fault: &'static str,
    },
    /// The service's own key is not in the published set, so nobody would accept its calls.
    #[error("the key of `{service}` is not published for it in {}", .path.display())]
    NotPublished {
        /// Whose key.
        service: ServiceName,
        /// The published set.
        path: PathBuf,
    },
}

impl SigningKey {
    /// Makes a new random key.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] when ring refuses the seed.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_seed(rand::random())
    }

    /// Derives a key from a long-lived secret (HKDF-SHA256); other purposes give unrelated keys.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] when ring refuses the derived seed.
    pub fn from_secret(secret: &SecretString, purpose: &str) -> Result<Self, KeyError> {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"sutazai");
        let mut seed = [0; SEED];
        salt.extract(secret.expose_secret().as_bytes())
            .expand(&[purpose.as_bytes()], hkdf::HKDF_SHA256)
            .and_then(|material| material.fill(&mut seed))
            .map_err(|_| KeyError::NotEd25519)?;
        Self::from_seed(seed)
    }

    /// Reads a private key from PKCS#8 v1 PEM.
    ///
    /// # Errors
    /// [`KeyError::NotEd25519`] for anything else.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let key = EncodingKey::from_ed_pem(pem.as_bytes()).map_err(|_| KeyError::NotEd25519)?;
        let seed = key
            .as_bytes()
            .strip_prefix(&PKCS8_PREFIX)
            .and_then(|seed| seed.try_into().ok())
            .ok_or(KeyError::NotEd25519)?;
        Self::from_seed(seed)
    }

    /// Reads a private key from a file that only its owner may read.
    ///
    /// # Errors
    /// [`KeyError`] when the file is missing, readable by others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KeyError> {
        let fault = |source| KeyError::File {
            path: path.to_owned(),
            source,
        };
        let mode = fs::metadata(path).map_err(fault)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyError::Exposed {
                path: path.to_owned(),
            });
        }
        Self::from_pem(&fs::read_to_string(path).map_err(fault)?)
    }

    /// Renders the key as PKCS#8 v1 PEM.
    pub fn to_pem(&self) -> SecretString {
        let document = STANDARD.encode(self.encoding().as_bytes());
        format!("{PEM_BEGIN}\n{document}\n{PEM_END}\n").into()
    }

    /// Returns the public half.
    pub fn public(&self) -> &PublicKey {
        &self.0.public
    }

    pub(crate) fn encoding(&self) -> &EncodingKey {
        &self.0.encoding
    }

    fn from_seed(seed: [u8; SEED]) -> Result<Self, KeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| KeyError::NotEd25519)?;
        let public = pair.public_key().as_ref();
        let public = public.try_into().map_err(|_| KeyError::NotEd25519)?;
        Ok(Self(Arc::new(Private {
            encoding: EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &seed].concat()),
            public: PublicKey::from_bytes(public),
        })))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey")
            .field(&self.public().kid())
            .finish()
    }
}

impl PublicKey {
    /// Returns the id: the thumbprint of the key (RFC 7638 and RFC 8037).
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Returns the member `x` of the key's JWK.
    pub fn x(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.bytes)
    }

    /// Renders the key as a PEM document, for verifiers that know no JWK.
    pub fn to_pem(&self) -> String {
        let document = STANDARD.encode([&SPKI_PREFIX[..], &self.bytes].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{document}\n-----END PUBLIC KEY-----\n")
    }

    pub(crate) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }

    fn from_bytes(bytes: [u8; SEED]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(bytes);
        // Members in lexicographic order and without spaces, as the RFC wants them.
        let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        Self {
            bytes,
            kid: URL_SAFE_NO_PAD.encode(sha256(canonical.as_bytes())),
            decoding: DecodingKey::from_ed_der(&bytes),
        }
    }

    fn from_x(x: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(x).ok()?;
        bytes.try_into().ok().map(Self::from_bytes)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.kid).finish()
    }
}

impl Issuer {
    const PLATFORM: &str = "sutazai";
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Platform => f.write_str(Self::PLATFORM),
            Self::Service(name) => name.fmt(f),
        }
    }
}

/// The text names no [`Issuer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown issuer")]
pub struct UnknownIssuer;

impl FromStr for Issuer {
    type Err = UnknownIssuer;

    fn from_str(name: &str) -> Result<Self, UnknownIssuer> {
        match name {
            Self::PLATFORM => Ok(Self::Platform),
            other => other.parse().map(Self::Service).map_err(|_| UnknownIssuer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_the_rfc_8037_key_is_the_one_printed_there() {
        let key = PublicKey::from_x("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        assert_eq!(key.kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn a_key_survives_its_pem_which_is_what_openssl_writes() {
        let key = SigningKey::generate().unwrap();
        let pem = key.to_pem();
        assert_eq!(key.encoding().as_bytes().len(), 48);
        let again = SigningKey::from_pem(pem.expose_secret()).unwrap();
        assert_eq!(again.public().kid(), key.public().kid());
    }

    #[test]
    fn a_derived_key_depends_on_secret_and_purpose() {
        let key = |secret: &str, purpose| {
            let key = SigningKey::from_secret(&secret.into(), purpose).unwrap();
            key.public().kid().to_owned()
        };
        assert_eq!(key("a", "p"), key("a", "p"));
        assert_ne!(key("a", "p"), key("b", "p"));
        assert_ne!(key("a", "p"), key("a", "q"));
    }

    #[test]
    fn cfg_02_a_key_file_of_another_kind_is_refused() {
        // An EC key on P-256, PKCS#8.
        let ec = "MEECAQAwEwYHKoZIzj0CAQYIKoZIzj0DAQcEJzAlAgEBBCAAAAAAAAAAAAAAAAAAAAAA\
                  AAAAAAAAAAAAAAAAAAAAAQ==";
        let key = SigningKey::generate().unwrap().to_pem();
        for text in [
            format!("{PEM_BEGIN}\n{ec}\n{PEM_END}\n"),
            key.expose_secret().replace("PRIVATE", "PUBLIC"),
            "changeme".into(),
            String::new(),
        ] {
            assert!(
                matches!(SigningKey::from_pem(&text), Err(KeyError::NotEd25519)),
                "{text}"
            );
        }
    }

    #[test]
    fn cfg_07_a_key_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = SigningKey::generate().unwrap();
        fs::write(&path, key.to_pem().expose_secret()).unwrap();
        for (mode, accepted) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(SigningKey::from_file(&path).is_ok(), accepted, "{mode:o}");
        }
    }

    #[test]
    fn an_issuer_survives_its_text() {
        let services = ServiceName::ALL.map(Issuer::Service);
        for issuer in [Issuer::Platform].into_iter().chain(services) {
            assert_eq!(issuer.to_string().parse(), Ok(issuer));
        }
        for text in ["", "sutazai/", "Sutazai", "https://sutazai"] {
            assert_eq!(text.parse::<Issuer>(), Err(UnknownIssuer));
        }
    }
}
