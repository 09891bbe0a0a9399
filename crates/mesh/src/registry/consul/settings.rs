//! What the connection to Consul is told.

use std::{num::NonZeroU16, time::Duration};

use http::{HeaderValue, Uri};
use secrecy::{ExposeSecret, SecretString};

/// Where Consul is, and how instances are entered there.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the agent, `http://host:port`; as with Consul's own tools the scheme may be absent.
    pub address: String,
    /// Token that allows what `consul/acl/service.hcl` says.
    pub token: Option<SecretString>,
    /// Zone of the instances entered; one of their own goes before.
    pub zone: Option<String>,
    /// Share of the load that the instances entered should get; 1 when absent.
    pub weight: Option<NonZeroU16>,
    /// How often Consul checks an instance.
    pub check_every: Duration,
    /// Longest time for one check.
    pub check_limit: Duration,
    /// Pause between two looks of an instance at its own entry.
    pub reconcile_every: Duration,
    /// How long an empty list is not believed while instances of the last one still answer.
    pub doubt_empty_for: Duration,
}

/// Settings that no request can be made with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSettings {
    /// The address is none.
    #[error("`{0}` is no address of Consul, like http://127.0.0.1:8500")]
    Address(String),
    /// A header could not carry the token.
    #[error("the token of Consul holds characters that no header can carry")]
    Token,
}

impl Settings {
    /// Takes an address and the defaults for everything else.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            zone: None,
            weight: None,
            check_every: Duration::from_secs(2),
            check_limit: Duration::from_secs(1),
            reconcile_every: Duration::from_secs(10),
            doubt_empty_for: Duration::from_secs(30),
        }
    }

    /// Returns the address as the client wants it. The client itself panics on a wrong one.
    pub(super) fn base(&self) -> Result<String, InvalidSettings> {
        let text = self.address.trim();
        let (scheme, place) = text.split_once("://").unwrap_or(("http", text));
        let text = format!("{scheme}://{}", place.trim_end_matches('/'));
        let is_base = |uri: &Uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|a| !a.host().is_empty())
                && uri.path() == "/"
                && uri.query().is_none()
        };
        match text.parse::<Uri>() {
            Ok(uri) if is_base(&uri) => Ok(text),
            _ => Err(InvalidSettings::Address(self.address.clone())),
        }
    }

    /// Returns the token as a header can carry it. The client itself panics on another one.
    pub(super) fn plain_token(&self) -> Result<Option<String>, InvalidSettings> {
        let plain = self.token.as_ref().map(ExposeSecret::expose_secret);
        match plain.filter(|token| !token.is_empty()) {
            None => Ok(None),
            Some(token) if HeaderValue::from_str(token).is_ok() => Ok(Some(token.to_owned())),
            Some(_) => Err(InvalidSettings::Token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_may_be_absent_and_nonsense_is_refused() {
        let base = |text: &str| Settings::new(text).base();
        assert_eq!(base("127.0.0.1:8500").unwrap(), "http://127.0.0.1:8500");
        assert_eq!(base("https://consul:8501/").unwrap(), "https://consul:8501");
        for text in [
            "",
            "http://",
            "ftp://a:1",
            "http://a/b",
            "a b",
            "http://a?b",
        ] {
            assert!(base(text).is_err(), "{text:?} is taken");
        }
    }

    #[test]
    fn a_token_that_no_header_carries_is_refused() {
        let with = |token: &str| Settings {
            token: Some(token.to_owned().into()),
            ..Settings::new("a:1")
        };
        assert_eq!(with("a\nb").plain_token(), Err(InvalidSettings::Token));
        assert_eq!(with("").plain_token(), Ok(None));
        assert_eq!(with("t").plain_token(), Ok(Some("t".to_owned())));
        assert!(!format!("{:?}", with("hidden")).contains("hidden"));
    }
}
