//! The id that names one request in headers, logs and problem documents.

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

/// Longest id that is taken over from a caller.
const LONGEST: usize = 128;

/// The id of a request, safe in headers and logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(String);

impl RequestId {
    pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

    /// Takes the caller's id, or makes one where there is none or one that is not safe.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut given = headers.get_all(Self::HEADER).iter();
        let first = given.next().and_then(|id| id.to_str().ok());
        let id = first.filter(|id| given.next().is_none() && is_safe(id));
        Self(id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Writes the id into headers, in the place of any other.
    pub(crate) fn put(&self, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_str(&self.0) {
            headers.insert(Self::HEADER, value);
        }
    }
}

fn is_safe(id: &str) -> bool {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    (1..=LONGEST).contains(&id.len()) && id.bytes().all(harmless)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ids: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for id in ids {
            headers.append(RequestId::HEADER, HeaderValue::from_str(id).unwrap());
        }
        RequestId::of(&headers).0
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
