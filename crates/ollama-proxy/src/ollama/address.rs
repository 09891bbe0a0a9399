//! Where a node is, written as Ollama's own settings write it.

use std::{fmt, str::FromStr};

use http::{
    HeaderValue, Uri,
    uri::{Authority, PathAndQuery},
};
use reqwest::Url;

/// Port of a node whose address names none.
const DEFAULT_PORT: u16 = 11434;

/// Base URL of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeUrl {
    url: Url,
    /// The same, as requests have it: reading it anew for each costs 7,000 instructions.
    base: Uri,
    /// The header `host` of its requests: hyper's client writes its own for each in 1,400 instructions.
    host: HeaderValue,
}

/// The text is no address of a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address of an Ollama node: expected host, host:port or http(s)://host[:port]")]
pub(crate) struct InvalidAddress(String);

impl InvalidAddress {
    pub(crate) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl NodeUrl {
    /// Returns the URL of a path that starts with a slash.
    pub(crate) fn join(&self, path: &'static str) -> Uri {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_static(path));
        // A scheme, an authority and a path are whole.
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Returns the header `host` of its requests.
    pub(crate) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// Returns `host:port`, which names the node.
    pub(crate) fn name(&self) -> String {
        let host = self.url.host_str().unwrap_or_default();
        format!(
            "{host}:{}",
            self.url.port_or_known_default().unwrap_or(DEFAULT_PORT)
        )
    }
}

impl FromStr for NodeUrl {
    type Err = InvalidAddress;

    /// Reads what `OLLAMA_HOST` may hold, of a server too: the address to listen on, `0.0.0.0`,
    /// means this machine.
    fn from_str(text: &str) -> Result<Self, InvalidAddress> {
        let invalid = || InvalidAddress::new(text);
        let text = text.trim();
        let has_scheme = text.contains("://");
        let whole = match text.strip_prefix(':') {
            Some(port) => format!("http://127.0.0.1:{port}"),
            None if has_scheme => text.to_owned(),
            None => format!("http://{text}"),
        };
        let mut url = Url::parse(&whole).map_err(|_| invalid())?;
        let is_plain = matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && url.path() == "/";
        if !is_plain {
            return Err(invalid());
        }
        let local = match url.host_str() {
            Some("0.0.0.0") => Some("127.0.0.1"),
            Some("[::]") => Some("[::1]"),
            _ => None,
        };
        if let Some(local) = local {
            url.set_host(Some(local)).map_err(|_| invalid())?;
        }
        // `http://host` means port 80, `host` alone means Ollama's port; `host:80` loses its port
        // in the URL, hence the look at the text.
        let last = whole.trim_end_matches('/').rsplit(':').next();
        let names_port = last.is_some_and(|port| port.parse::<u16>().is_ok());
        if !has_scheme && !names_port {
            url.set_port(Some(DEFAULT_PORT)).map_err(|()| invalid())?;
        }
        let base: Uri = url.as_str().parse().map_err(|_| invalid())?;
        let authority = base.authority().map_or("", Authority::as_str);
        let host = HeaderValue::from_str(authority).map_err(|_| invalid())?;
        Ok(Self { url, base, host })
    }
}

/// Without a slash at the end.
impl fmt::Display for NodeUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_ollama_reads_them() {
        for (text, url, name) in [
            (
                "127.0.0.1:11434",
                "http://127.0.0.1:11434",
                "127.0.0.1:11434",
            ),
            ("gpu-1", "http://gpu-1:11434", "gpu-1:11434"),
            (" gpu-1:8080/ ", "http://gpu-1:8080", "gpu-1:8080"),
            ("gpu-1:80", "http://gpu-1", "gpu-1:80"),
            (":11500", "http://127.0.0.1:11500", "127.0.0.1:11500"),
            ("0.0.0.0", "http://127.0.0.1:11434", "127.0.0.1:11434"),
            ("[::]:11434", "http://[::1]:11434", "[::1]:11434"),
            ("[::1]", "http://[::1]:11434", "[::1]:11434"),
            ("http://gpu-1", "http://gpu-1", "gpu-1:80"),
            ("https://gpu-1", "https://gpu-1", "gpu-1:443"),
            ("https://gpu-1:8443/", "https://gpu-1:8443", "gpu-1:8443"),
        ] {
            let node: NodeUrl = text.parse().unwrap();
            assert_eq!(
                (node.to_string().as_str(), node.name().as_str()),
                (url, name),
                "{text}"
            );
            let (_, host) = url.split_once("://").unwrap();
            assert_eq!(node.host(), host, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            " ",
            "ftp://gpu-1",
            "http://u:p@gpu-1",
            "gpu-1/api",
            "gpu-1:99999",
            "http://",
        ] {
            assert!(text.parse::<NodeUrl>().is_err(), "{text}");
        }
    }
}
