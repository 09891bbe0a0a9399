//! The id that names one request in headers, logs and problem documents.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Uuid, fmt::Hyphenated};

/// Longest id that is taken over from a caller.
const LONGEST: usize = 128;

/// The id of a request, safe in headers and logs.
///
/// It is kept as the header that it came or goes as: a copy of one is a count, and a text would be
/// copied for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// Takes the caller's id, or makes one where there is none or one that is not safe.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self::given(headers).unwrap_or_else(Self::made)
    }

    /// The same, and writes a made one into the headers.
    pub(crate) fn settle(headers: &mut HeaderMap) -> Self {
        if let Some(given) = Self::given(headers) {
            return given;
        }
        let made = Self::made();
        made.put(headers);
        made
    }

    fn given(headers: &HeaderMap) -> Option<Self> {
        let mut given = headers.get_all(Self::HEADER).iter();
        let first = given.next().filter(|id| is_safe(id.as_bytes()))?;
        given.next().is_none().then(|| Self(first.clone()))
    }

    fn made() -> Self {
        let mut text = [0; Hyphenated::LENGTH];
        let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        // Digits and hyphens are a header.
        let made = HeaderValue::from_str(text);
        Self(made.unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    pub(crate) fn as_str(&self) -> &str {
        // Always text: safe bytes are.
        self.0.to_str().unwrap_or_default()
    }

    /// Writes the id into headers, in the place of any other.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        headers.insert(Self::HEADER, self.0.clone());
    }
}

fn is_safe(id: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(RequestId::HEADER, HeaderValue::from_str(id).unwrap());
        }
        let id = RequestId::of(&headers);
        assert_eq!(
            RequestId::settle(&mut headers).as_str(),
            headers[RequestId::HEADER]
        );
        id.as_str().to_owned()
    }

    #[test]
    fn a_harmless_id_is_kept_and_any_other_replaced() {
        for id in ["a", "req-1_2.3:4", &"x".repeat(LONGEST)] {
            assert_eq!(of(&[id]), id);
        }
        for ids in [
            vec![],
            vec![""],
            vec!["a b"],
            vec!["a\"b"],
            vec!["<script>"],
            vec!["one", "two"],
            vec![&*"x".repeat(LONGEST + 1)],
        ] {
            let made = of(&ids);
            assert!(made.parse::<Uuid>().is_ok(), "{ids:?} gave {made}");
        }
    }
}
