//! How a process reaches its Redis: one URL, or its parts.

use secrecy::SecretString;
use sutazai_persistence::redis::Settings;

use super::{
    Reader, Strength,
    url::{self, UrlParts},
};

const URL: &str = "REDIS_URL";
/// Standard port of Redis.
const PORT: u16 = 6379;

/// Reads how the process reaches its Redis; nothing where none is configured.
///
/// `REDIS_URL` or `REDIS_URL_FILE` counts when it is set, else the parts `REDIS_HOST`, `_PORT` and
/// `_PASSWORD`.
pub(crate) fn redis(reader: &mut Reader<'_>) -> Option<Settings> {
    let by_parts = !reader.is_set(URL) && reader.is_set("REDIS_HOST");
    let url = if by_parts {
        from_parts(reader)
    } else {
        whole(reader)
    };
    url.map(Settings::new)
}

fn whole(reader: &mut Reader<'_>) -> Option<SecretString> {
    let doc = "the Redis that replicas share, as redis://:password@host:port/0; without one each \
               process has a cache and limits of its own";
    let url = reader.optional_secret(URL, doc, Strength::Any)?;
    url::judge(reader, URL, &url, ["redis", "rediss"]).then_some(url)
}

fn from_parts(reader: &mut Reader<'_>) -> Option<SecretString> {
    let host: Option<String> = reader.optional("REDIS_HOST", "host of Redis");
    let port = reader.within("REDIS_PORT", "port of Redis", PORT, 1..=u16::MAX);
    let doc = "password of Redis, where it has one";
    let password = reader.optional_secret("REDIS_PASSWORD", doc, Strength::Any);
    let url = UrlParts {
        scheme: "redis",
        user: "",
        password: password.as_ref(),
        host: &host?,
        port,
        path: "0",
    };
    Some(url.join())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::{
        super::{Faults, Source},
        *,
    };

    fn read(pairs: &[(&str, &str)]) -> Result<Option<String>, Faults> {
        let source = Source::from_pairs(pairs.iter().copied()).with("SUTAZAI_PROFILE", "dev");
        let mut reader = Reader::new(&source);
        let settings = redis(&mut reader);
        let url = settings.map(|settings| settings.url.expose_secret().to_owned());
        reader.finish(Some(url)).map(|loaded| loaded.config)
    }

    #[test]
    fn without_a_setting_there_is_no_redis_and_no_fault() {
        assert_eq!(read(&[]).unwrap(), None);
    }

    #[test]
    fn cfg_04_redis_is_named_whole_or_in_parts() {
        let url = "redis://:p4ss@cache:6379/0";
        assert_eq!(read(&[("REDIS_URL", url)]).unwrap().as_deref(), Some(url));
        let parts = [("REDIS_HOST", "cache"), ("REDIS_PORT", "10001")];
        assert_eq!(
            read(&parts).unwrap().as_deref(),
            Some("redis://cache:10001/0")
        );
        let parts = [("REDIS_HOST", "cache"), ("REDIS_PASSWORD", "p@ss/w")];
        assert_eq!(
            read(&parts).unwrap().as_deref(),
            Some("redis://:p%40ss%2Fw@cache:6379/0")
        );
    }

    #[test]
    fn cfg_02_another_scheme_and_a_sample_password_are_faults() {
        for (url, rule) in [
            ("http://cache", "must begin with redis://"),
            ("redis://:changeme@cache", "its password"),
        ] {
            let faults = read(&[("REDIS_URL", url)]).unwrap_err().to_string();
            assert!(faults.contains(rule), "{faults}");
        }
    }
}
