//! Ed25519 and SHA-256 over ring, the former for `jsonwebtoken`, which comes without any cryptography of its own here.

use std::sync::Once;

use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error as SignatureError, Signer, Verifier},
};
use ring::{
    digest,
    signature::{ED25519, Ed25519KeyPair, UnparsedPublicKey},
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        only_ed25519(*algorithm, key.family())?;
        Ok(Box::new(Ed25519Signer::of(key)?))
    },
    verifier_factory: |algorithm, key| {
        only_ed25519(*algorithm, key.family())?;
        Ok(Box::new(Ed25519Verifier::of(key)?))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes the provider the one of this process; every path to a token comes through here first.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    // Refused only when somebody else's provider is there already. Nothing of ours installs one.
    ONCE.call_once(|| {
        let _ = PROVIDER.install_default();
    });
}

/// Returns the SHA-256 of something.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, data).as_ref());
    hash
}

fn only_ed25519(algorithm: Algorithm, family: AlgorithmFamily) -> Result<()> {
    if algorithm == Algorithm::EdDSA && family == AlgorithmFamily::Ed {
        Ok(())
    } else {
        Err(ErrorKind::InvalidAlgorithm.into())
    }
}

struct Ed25519Signer(Ed25519KeyPair);

impl Ed25519Signer {
    fn of(key: &EncodingKey) -> Result<Self> {
        // "Maybe unchecked" names the v1 form, which carries no public key to check against.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.as_bytes())
            .map(Self)
            .map_err(|_| ErrorKind::InvalidEddsaKey.into())
    }
}

impl Signer<Vec<u8>> for Ed25519Signer {
    fn try_sign(&self, message: &[u8]) -> std::result::Result<Vec<u8>, SignatureError> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Ed25519Signer {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Ed25519Verifier(UnparsedPublicKey<Vec<u8>>);

impl Ed25519Verifier {
    fn of(key: &DecodingKey) -> Result<Self> {
        let public = key.try_get_as_bytes()?.to_vec();
        Ok(Self(UnparsedPublicKey::new(&ED25519, public)))
    }
}

impl Verifier<Vec<u8>> for Ed25519Verifier {
    fn verify(
        &self,
        message: &[u8],
        signature: &Vec<u8>,
    ) -> std::result::Result<(), SignatureError> {
        self.0
            .verify(message, signature)
            .map_err(|_| SignatureError::new())
    }
}

impl JwtVerifier for Ed25519Verifier {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}
