//! The one way in which a credential arrives, over HTTP and gRPC alike.
//!
//! Query strings and cookies are never read.

use http::{HeaderMap, header::AUTHORIZATION};

use crate::error::{AuthError, Refusal};

const SCHEME: &str = "bearer";

/// Returns the token of the `Authorization` header, if there is one.
///
/// The scheme's case does not matter (RFC 9110); a single space follows it, and then one token and
/// nothing else.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthError> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Refusal::SeveralHeaders.into());
    }
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(SCHEME))
        .map(|(_, token)| token)
        .filter(|token| !token.is_empty() && token.bytes().all(is_token_byte));
    token.map(Some).ok_or(Refusal::Malformed.into())
}

/// The characters of tokens and API keys; fewer than RFC 6750 allows.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn read(values: &[&[u8]]) -> Result<Option<String>, AuthError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value).unwrap());
        }
        bearer(&headers).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn one_token_is_read_whatever_the_case_of_the_scheme() {
        for value in [b"Bearer a.b_c-1", b"bearer a.b_c-1", b"BEARER a.b_c-1"] {
            assert_eq!(read(&[value]).unwrap().as_deref(), Some("a.b_c-1"));
        }
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn anything_else_is_refused() {
        let refused: [&[&[u8]]; 14] = [
            &[b"Bearer a", b"Bearer a"],
            &[b"Bearer a", b"Basic YTpi"],
            &[b"Bearer"],
            &[b"Bearer "],
            &[b"Bearer  a"],
            &[b"Bearer a "],
            &[b"bearer\ta"],
            &[b"Bearer \ta"],
            &[b"Bearer a, Bearer b"],
            &[b"Bearer a=="],
            &[b"Basic YTpi"],
            &[b"a.b.c"],
            &[b"Bearer a\xff"],
            &[b""],
        ];
        for values in refused {
            assert!(
                matches!(read(values), Err(AuthError::Invalid(_))),
                "{values:?}"
            );
        }
    }
}
