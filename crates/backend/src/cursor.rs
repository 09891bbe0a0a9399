//! Cursors of lists: opaque to clients, signed, and good for one list of one tenant only.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use sutazai_proto::{Coded, Details, ErrorCode, Violation};

/// Keeps these signatures apart from anything else that the key may sign.
const PURPOSE: &[u8] = b"sutazai list cursor 1";
/// Bytes of a signature.
const TAG_LEN: usize = 32;
/// Longest cursor that is looked at, in characters.
const MAX_LEN: usize = 1024;

/// Seals and opens cursors.
#[derive(Clone)]
pub(crate) struct Cursors {
    key: hmac::Key,
}

/// The cursor was not made by this API for this list, or was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not one of this list; begin again without a cursor")]
pub(crate) struct InvalidCursor;

impl Coded for InvalidCursor {
    fn code(&self) -> ErrorCode {
        ErrorCode::InvalidArgument
    }

    fn reason(&self) -> &'static str {
        "invalid_cursor"
    }

    fn details(&self) -> Details {
        let fault = Violation {
            field: "cursor".to_owned(),
            description: self.to_string(),
        };
        Details {
            violations: vec![fault],
            ..Details::default()
        }
    }
}

impl Cursors {
    /// Makes the sealer of a process from `SECRET_KEY`.
    pub(crate) fn new(secret: &SecretString) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes()),
        }
    }

    /// Hides a position in a cursor that holds for `scope` only: the tenant, the list and its
    /// filters.
    pub(crate) fn seal(&self, scope: &[&str], position: &str) -> String {
        let tag = hmac::sign(&self.key, &message(scope, position.as_bytes()));
        let mut sealed = tag.as_ref().to_vec();
        sealed.extend_from_slice(position.as_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// Returns the position that a cursor of `scope` hides.
    pub(crate) fn open(&self, scope: &[&str], cursor: &str) -> Result<String, InvalidCursor> {
        if cursor.len() > MAX_LEN {
            return Err(InvalidCursor);
        }
        let sealed = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
        let (tag, position) = sealed.split_at_checked(TAG_LEN).ok_or(InvalidCursor)?;
        hmac::verify(&self.key, &message(scope, position), tag).map_err(|_| InvalidCursor)?;
        String::from_utf8(position.to_vec()).map_err(|_| InvalidCursor)
    }
}

/// Joins the parts with their lengths, so that no two scopes give the same bytes.
fn message(scope: &[&str], position: &[u8]) -> Vec<u8> {
    let mut out = PURPOSE.to_vec();
    for part in scope.iter().map(|part| part.as_bytes()).chain([position]) {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    const SCOPE: [&str; 3] = ["tenant-1", "tasks", "state=queued"];

    fn cursors() -> Cursors {
        Cursors::new(&"a secret key of thirty-two characters".into())
    }

    #[test]
    fn a_cursor_opens_in_its_own_scope() {
        let cursor = cursors().seal(&SCOPE, "position");
        assert_eq!(cursors().open(&SCOPE, &cursor), Ok("position".to_owned()));
    }

    #[test]
    fn sec_10_a_cursor_of_another_tenant_list_or_filter_is_refused() {
        let cursor = cursors().seal(&SCOPE, "position");
        for scope in [
            ["tenant-2", "tasks", "state=queued"],
            ["tenant-1", "conversations", "state=queued"],
            ["tenant-1", "tasks", ""],
            ["tenant-1t", "asks", "state=queued"],
        ] {
            assert_eq!(
                cursors().open(&scope, &cursor),
                Err(InvalidCursor),
                "{scope:?}"
            );
        }
    }

    #[test]
    fn sec_10_a_cursor_of_another_key_is_refused() {
        let other = Cursors::new(&"another key of thirty-two characters!".into());
        let cursor = other.seal(&SCOPE, "position");
        assert_eq!(cursors().open(&SCOPE, &cursor), Err(InvalidCursor));
    }

    #[test]
    fn sec_10_a_thousand_tampered_cursors_are_refused() {
        let mut rng = rand::rng();
        let cursors = cursors();
        for round in 0..1000 {
            let cursor = cursors.seal(&SCOPE, &format!("position-{round}"));
            let tampered = tamper(&cursor, &mut rng);
            assert_eq!(
                cursors.open(&SCOPE, &tampered),
                Err(InvalidCursor),
                "{cursor} {tampered}"
            );
        }
    }

    /// Changes, removes or adds one character, or cuts the text.
    fn tamper(cursor: &str, rng: &mut impl Rng) -> String {
        const ALPHABET: &[u8] = b"ABCXYZabcxyz0189-_=+/ \0";
        let mut bytes = cursor.as_bytes().to_vec();
        let at = rng.random_range(0..bytes.len());
        let other = ALPHABET[rng.random_range(0..ALPHABET.len())];
        match rng.random_range(0..4) {
            0 if bytes[at] != other => bytes[at] = other,
            1 => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, other),
        }
        String::from_utf8(bytes).expect("the alphabet is ASCII")
    }
}
