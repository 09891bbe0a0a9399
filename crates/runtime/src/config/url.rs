//! Settings that are one URL with a login inside, or its parts.

use std::fmt::Write;

use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};

use super::{Reader, Strength};

/// Reads a URL whole; its password is judged too.
pub(super) fn whole(
    reader: &mut Reader<'_>,
    name: &'static str,
    doc: &'static str,
    schemes: [&str; 2],
) -> Option<SecretString> {
    let url = reader.secret(name, doc, Strength::Any)?;
    judge(reader, name, &url, schemes).then_some(url)
}

/// Says whether a URL has one of the schemes and no sample for a password; if not, with a fault.
pub(super) fn judge(
    reader: &mut Reader<'_>,
    name: &str,
    url: &SecretString,
    schemes: [&str; 2],
) -> bool {
    let text = url.expose_secret();
    let Some(rest) = schemes
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme)?.strip_prefix("://"))
    else {
        let [one, other] = schemes;
        reader.fault(name, format!("must begin with {one}:// or {other}://"));
        return false;
    };
    let user_info = rest.rsplit_once('@').map_or("", |(user_info, _)| user_info);
    if let Some((_, password)) = user_info.split_once(':')
        && let Err(weakness) = Strength::Any.judge(password)
    {
        reader.fault(name, format!("its password {weakness}"));
        return false;
    }
    true
}

/// The parts of a URL with a login.
#[derive(Clone, Copy, Debug)]
pub struct UrlParts<'a> {
    /// What stands before `://`.
    pub scheme: &'a str,
    /// Who logs in.
    pub user: &'a str,
    /// Absent where no login is asked for.
    pub password: Option<&'a SecretString>,
    /// Name or address of the server.
    pub host: &'a str,
    /// Its port.
    pub port: u16,
    /// What follows the address, encoded as a whole.
    pub path: &'a str,
}

impl UrlParts<'_> {
    /// Puts the parts together; what they hold stands for itself.
    pub fn join(&self) -> SecretString {
        let mut url = Zeroizing::new(format!("{}://", self.scheme));
        if let Some(password) = self.password {
            percent_encode(self.user, &mut url);
            url.push(':');
            percent_encode(password.expose_secret(), &mut url);
            url.push('@');
        }
        // Writing to a String can not fail.
        let _ = write!(url, "{}:{}/", self.host, self.port);
        percent_encode(self.path, &mut url);
        SecretString::from(url.as_str())
    }
}

/// Writes `text` so that it stands for itself inside a URL (RFC 3986, 2.1).
fn percent_encode(text: &str, url: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing to a String can not fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}
