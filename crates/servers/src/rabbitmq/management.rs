//! The management API of a node.

use std::io;

use base64::{Engine, prelude::BASE64_STANDARD};

use crate::probe;
pub use crate::probe::Answer;

/// Asks one node, as its administrator.
#[derive(Clone)]
pub struct Management {
    port: u16,
    user: String,
    credentials: String,
}

impl Management {
    pub(super) fn new(port: u16, user: &str, password: &str) -> Self {
        Self {
            port,
            user: user.to_owned(),
            credentials: BASE64_STANDARD.encode(format!("{user}:{password}")),
        }
    }

    /// Sends a request; `path` begins behind `/api`.
    ///
    /// # Errors
    /// Fails when there is no answer, or none that is HTTP. Every status is an answer.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let (path, login) = (format!("/api{path}"), format!("Basic {}", self.credentials));
        let headers = [
            ("authorization", login.as_str()),
            ("content-type", "application/json"),
        ];
        probe::request(self.port, method, &path, &headers, body).await
    }

    /// Returns the status of a `GET`.
    ///
    /// # Errors
    /// As [`Management::request`].
    pub async fn status(&self, path: &str) -> io::Result<u16> {
        Ok(self.request("GET", path, "").await?.status)
    }

    /// Makes a virtual host in which this administrator may do everything.
    ///
    /// # Errors
    /// As [`Management::request`], and when the node refuses.
    pub async fn make_vhost(&self, vhost: &str) -> io::Result<()> {
        let vhost = escaped(vhost);
        let rights = r#"{"configure":".*","write":".*","read":".*"}"#;
        for (path, body) in [
            (format!("/vhosts/{vhost}"), "{}"),
            (format!("/permissions/{vhost}/{}", self.user), rights),
        ] {
            let answer = self.request("PUT", &path, body).await?;
            if !(200..300).contains(&answer.status) {
                let text = format!("{path}: {} {}", answer.status, answer.body);
                return Err(io::Error::other(text));
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for Management {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Management")
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

/// Writes a name as one segment of a path.
pub(super) fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' => text.push(byte.into()),
            _ => text.push_str(&percent(byte)),
        }
        text
    })
}

fn percent(byte: u8) -> String {
    format!("%{byte:02X}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_virtual_host_is_one_segment() {
        assert_eq!(escaped("/"), "%2F");
        assert_eq!(escaped("test-7"), "test-7");
    }

    #[test]
    fn credentials_are_not_printed() {
        let text = format!("{:?}", Management::new(1, "user", "password"));
        assert!(!text.contains("dXNlcjpwYXNzd29yZA"), "{text}");
    }
}
