//! The `Idempotency-Key` header (draft-ietf-httpapi-idempotency-key-header-07).

use axum::extract::FromRequestParts;
use http::{HeaderMap, request::Parts};

use super::InputError;
use crate::http::problem::Failure;

const NAME: &str = "idempotency-key";
/// Longest key in characters, as the task coordinator stores it.
const MAX_LEN: usize = 255;

/// The key of a request that may be repeated; empty without one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Ok(from_headers(&parts.headers)?)
    }
}

fn from_headers(headers: &HeaderMap) -> Result<IdempotencyKey, InputError> {
    let mut values = headers.get_all(NAME).iter();
    let Some(value) = values.next() else {
        return Ok(IdempotencyKey::default());
    };
    if values.next().is_some() {
        return Err(InputError::IdempotencyKey("send it once"));
    }
    let text = value.to_str().map_err(|_| NOT_ASCII)?;
    parse(text).map(IdempotencyKey)
}

const NOT_ASCII: InputError = InputError::IdempotencyKey("visible ASCII characters only");

/// Reads a structured field string (RFC 9651, 3.3.3), or the same text without its quotes.
fn parse(field: &str) -> Result<String, InputError> {
    let field = field.trim_matches([' ', '\t']);
    let key = match field.strip_prefix('"') {
        Some(rest) => unquote(rest)?,
        None if field.contains(['"', '\\', ';', ',']) => {
            return Err(InputError::IdempotencyKey(
                "quote a key with \" \\ ; or , in it",
            ));
        }
        None => field.to_owned(),
    };
    if key.is_empty() {
        return Err(InputError::IdempotencyKey("it is empty"));
    }
    if key.len() > MAX_LEN {
        return Err(InputError::IdempotencyKey("at most 255 characters"));
    }
    if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(NOT_ASCII);
    }
    Ok(key)
}

/// Reads up to the closing quote; parameters after it are not ours and are refused.
fn unquote(rest: &str) -> Result<String, InputError> {
    let mut key = String::with_capacity(rest.len());
    let mut chars = rest.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' if chars.as_str().is_empty() => return Ok(key),
            '"' => return Err(InputError::IdempotencyKey("text after the closing quote")),
            '\\' => match chars.next() {
                Some(escaped @ ('"' | '\\')) => key.push(escaped),
                _ => return Err(InputError::IdempotencyKey("only \\\" and \\\\ are escapes")),
            },
            other => key.push(other),
        }
    }
    Err(InputError::IdempotencyKey("the closing quote is missing"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn quoted(key: &str) -> String {
        format!("\"{}\"", key.replace('\\', "\\\\").replace('"', "\\\""))
    }

    fn headers(values: &[&str]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(NAME, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn absent_is_empty_and_twice_is_refused() {
        assert_eq!(from_headers(&headers(&[])).unwrap().0, "");
        assert_eq!(from_headers(&headers(&["\"a-1\""])).unwrap().0, "a-1");
        assert_eq!(from_headers(&headers(&["a-1"])).unwrap().0, "a-1");
        assert!(from_headers(&headers(&["a", "a"])).is_err());
        assert!(from_headers(&headers(&["schlüssel"])).is_err());
    }

    #[test]
    fn malformed_fields_are_refused() {
        for field in [
            "",
            "\"\"",
            " ",
            "\"",
            "\"a",
            "a\"",
            "\"a\"b",
            "\"a\";p=1",
            "\"a\", \"b\"",
            "a,b",
            "a b",
            "\"a b\"",
            "\"a\\n\"",
            "\"a\\",
            "a\\b",
            "a;b",
        ] {
            assert!(parse(field).is_err(), "{field}");
        }
        assert!(parse(&"k".repeat(255)).is_ok());
        assert!(parse(&"k".repeat(256)).is_err());
    }

    proptest! {
        #[test]
        fn any_visible_key_survives_quoting(key in "[!-~]{1,255}") {
            prop_assert_eq!(parse(&quoted(&key)).unwrap(), key);
        }

        #[test]
        fn bare_and_quoted_are_the_same_key(key in "[A-Za-z0-9._:/+-]{1,255}") {
            prop_assert_eq!(parse(&key).unwrap(), parse(&quoted(&key)).unwrap());
        }

        #[test]
        fn what_is_accepted_is_a_stored_key(field in ".{0,300}") {
            if let Ok(key) = parse(&field) {
                prop_assert!((1..=255).contains(&key.len()));
                prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
