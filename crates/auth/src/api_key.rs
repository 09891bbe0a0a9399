//! API keys, the long-lived credential:
//! `sutazai_<environment>_`, 32 random base62 characters (190 bits), 6 of CRC-32 over everything
//! before them. Leak scanners find one with `sutazai_[a-z]+_[0-9A-Za-z]{38}`.

use std::fmt;

use rand::Rng;
use secrecy::{ExposeSecret, SecretString};

use crate::{crypto::sha256, error::Refusal};

/// What every key begins with; no token does.
pub const PREFIX: &str = "sutazai_";

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM: usize = 32;
const CHECKSUM: usize = 6;
/// How much of the random part a list may show.
const HINT: usize = 4;
const ENVIRONMENT_LIMIT: usize = 16;

/// A key with a correct checksum. Whether anybody has stored it is another matter.
#[derive(Clone)]
pub struct ApiKey {
    text: SecretString,
    /// Length of prefix, environment and both underscores.
    head: usize,
}

/// SHA-256 of a key: what is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl ApiKey {
    /// Makes a new random key, or `None` when the environment is not one to sixteen lower-case
    /// letters.
    pub fn generate(environment: &str) -> Option<Self> {
        if !is_environment(environment) {
            return None;
        }
        let mut rng = rand::rng();
        let mut text = format!("{PREFIX}{environment}_");
        let head = text.len();
        for _ in 0..RANDOM {
            text.push(char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]));
        }
        let sum = checksum(&text);
        text.extend(sum.map(char::from));
        Some(Self {
            text: text.into(),
            head,
        })
    }

    /// Reads a key; a wrong checksum is found here, without asking the database.
    ///
    /// # Errors
    /// [`Refusal::KeyShape`].
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let body = body(text)?;
        Ok(Self {
            text: text.into(),
            head: text.len() - body.len(),
        })
    }

    /// Returns what is stored in place of the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash(sha256(self.expose().as_bytes()))
    }

    /// Returns the beginning of the key, enough to tell it from others and no more.
    pub fn hint(&self) -> &str {
        self.expose().get(..self.head + HINT).unwrap_or_default()
    }

    /// Returns the key itself, to be shown once.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ApiKey").field(&self.hint()).finish()
    }
}

impl KeyHash {
    /// Reads a key for a look-up, which needs nothing else of it: no copy to be wiped.
    ///
    /// # Errors
    /// [`Refusal::KeyShape`], as [`ApiKey::parse`].
    pub(crate) fn of(text: &str) -> Result<Self, Refusal> {
        body(text)?;
        Ok(Self(sha256(text.as_bytes())))
    }

    /// Returns the hash as the database holds it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

fn is_environment(text: &str) -> bool {
    (1..=ENVIRONMENT_LIMIT).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase())
}

/// Returns random part and checksum of a key whose checksum is right.
fn body(text: &str) -> Result<&str, Refusal> {
    let rest = text.strip_prefix(PREFIX).ok_or(Refusal::KeyShape)?;
    let (environment, body) = rest.split_once('_').ok_or(Refusal::KeyShape)?;
    let shaped = is_environment(environment)
        && body.len() == RANDOM + CHECKSUM
        && body.bytes().all(|b| b.is_ascii_alphanumeric());
    let (before, sum) = text
        .split_at_checked(text.len().saturating_sub(CHECKSUM))
        .filter(|_| shaped)
        .ok_or(Refusal::KeyShape)?;
    if checksum(before) != sum.as_bytes() {
        return Err(Refusal::KeyShape);
    }
    Ok(body)
}

/// CRC-32 in base62, the highest digit first.
fn checksum(text: &str) -> [u8; CHECKSUM] {
    let mut rest = crc32fast::hash(text.as_bytes());
    let mut digits = [ALPHABET[0]; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[(rest % 62) as usize];
        rest /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sec_06_a_key_survives_its_text_and_shows_little_of_itself() {
        let key = ApiKey::generate("live").unwrap();
        assert_eq!(key.expose().len(), "sutazai_live_".len() + 38);
        let again = ApiKey::parse(key.expose()).unwrap();
        assert_eq!(again.hash(), key.hash());
        assert_eq!(KeyHash::of(key.expose()).unwrap(), key.hash());
        assert_eq!(again.hint(), &key.expose()[..17]);
        assert!(!format!("{key:?}").contains(&key.expose()[17..]));
    }

    #[test]
    fn sec_06_no_two_keys_are_equal() {
        let [a, b] = [(); 2].map(|()| ApiKey::generate("live").unwrap());
        assert_ne!(a.hash(), b.hash());
    }

    #[test]
    fn sec_06_every_single_slip_of_the_pen_is_found() {
        let key = ApiKey::generate("dev").unwrap();
        for at in 0..key.expose().len() {
            let mut bytes = key.expose().as_bytes().to_vec();
            bytes[at] = if bytes[at] == b'a' { b'b' } else { b'a' };
            let text = String::from_utf8(bytes).unwrap();
            assert!(ApiKey::parse(&text).is_err(), "{text}");
        }
    }

    #[test]
    fn sec_06_random_strings_of_the_right_shape_are_refused() {
        let mut rng = rand::rng();
        for _ in 0..100_000 {
            let body: String = (0..RANDOM + CHECKSUM)
                .map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())]))
                .collect();
            assert!(
                ApiKey::parse(&format!("sutazai_live_{body}")).is_err(),
                "{body}"
            );
        }
    }

    #[test]
    fn other_shapes_are_refused() {
        let key = ApiKey::generate("live").unwrap();
        let text = key.expose();
        for text in [
            "",
            "sutazai_",
            "sutazai_live_",
            &text[1..],
            &text[..text.len() - 1],
            &format!("{text}0"),
            &text.replace("live", "LIVE"),
            &text.replace("live", ""),
            &text.replace("sutazai_", ""),
            "sutazai_live_éééééééééééééééééééé",
        ] {
            assert!(
                matches!(ApiKey::parse(text), Err(Refusal::KeyShape)),
                "{text}"
            );
        }
        for environment in ["", "Live", "a_b", "abcdefghijklmnopq"] {
            assert!(ApiKey::generate(environment).is_none(), "{environment}");
        }
    }
}
