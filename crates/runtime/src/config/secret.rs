//! Secrets: how strong they must be and how a file with one must look.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use secrecy::{SecretString, zeroize::Zeroizing};

/// Largest file that is taken for a secret, in bytes.
const FILE_LIMIT: u64 = 64 * 1024;
/// Mode bits that let somebody else than the owner reach a file.
const OTHERS: u32 = 0o077;
/// Distinct characters below which a key is a pattern and no random text.
const DISTINCT: usize = 8;

/// Secrets that stand in documents, samples and images, in lower case without punctuation.
#[rustfmt::skip]
const SAMPLES: &[&str] = &[
    "admin", "changeit", "changeme", "changethis", "default", "guest", "insecure", "jwtsecret",
    "minioadmin", "neo4j", "none", "null", "ollama", "pass", "passw0rd", "password", "password123",
    "postgres", "qwerty", "rabbitmq", "redis", "root", "secret", "secretkey", "supersecret",
    "sutazai", "sutazaipassword", "sutazaisecret", "test", "todo", "token", "user",
];
/// Phrases that give a sample away wherever they stand in a secret of ours, written the same way.
#[rustfmt::skip]
const SAMPLE_PHRASES: &[&str] = &[
    "0123456789", "12345678", "abcdefgh", "changein", "changeit", "changeme", "changethis",
    "changetoa", "donotuse", "examplekey", "examplesecret", "insecure", "jwtsecretkey",
    "placeholder", "replaceme", "replacethis", "replacewith", "samplekey", "samplesecret",
    "supersecret", "verysecret", "yourjwt", "yourkey", "yourpassword", "yoursecret",
];

/// How strong a secret must be; every strength refuses the well-known ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// Somebody else chose it and decides about its strength, for example a database password.
    Any,
    /// A person types it: at least 12 characters.
    Password,
    /// It seeds or is a key: at least 32 characters that are no pattern.
    Key,
}

/// Why a secret is refused; the text never holds the secret.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Weakness {
    #[error("is empty or blank")]
    Blank,
    #[error("is a known sample value; make a random one")]
    Sample,
    #[error("has {actual} characters, but at least {least} are needed")]
    Short { actual: usize, least: usize },
    #[error("repeats too few different characters; make a random one")]
    Pattern,
}

impl Strength {
    /// Judges a secret.
    pub(super) fn judge(self, secret: &str) -> Result<(), Weakness> {
        if secret.trim().is_empty() {
            return Err(Weakness::Blank);
        }
        let letters: Zeroizing<String> = Zeroizing::new(
            secret
                .chars()
                .filter(|c| c.is_alphanumeric())
                .flat_map(char::to_lowercase)
                .collect(),
        );
        let phrase = || SAMPLE_PHRASES.iter().any(|sample| letters.contains(sample));
        if SAMPLES.contains(&letters.as_str()) || (self != Self::Any && phrase()) {
            return Err(Weakness::Sample);
        }
        let (least, distinct) = match self {
            Self::Any => (1, 1),
            Self::Password => (12, 4),
            Self::Key => (32, DISTINCT),
        };
        let actual = secret.chars().count();
        if actual < least {
            return Err(Weakness::Short { actual, least });
        }
        let mut seen: Zeroizing<Vec<char>> = Zeroizing::new(secret.chars().collect());
        seen.sort_unstable();
        seen.dedup();
        if seen.len() < distinct {
            return Err(Weakness::Pattern);
        }
        Ok(())
    }
}

/// Why a file with a secret is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileFault {
    #[error("the file can not be read: {0}")]
    Io(#[from] io::Error),
    #[error("the file has mode {0:04o}: group or others can reach it; it must be 0600 or 0400")]
    Open(u32),
    #[error("the file has more than {FILE_LIMIT} bytes")]
    Long,
    #[error("it is not a regular file")]
    NoFile,
}

/// Reads a secret from a file that only its owner can reach; one line ending at its end is cut off.
pub(super) fn read_file(path: &Path) -> Result<SecretString, FileFault> {
    // The open handle is judged, not the path: nobody can change the file in between.
    if !fs::metadata(path)?.is_file() {
        return Err(FileFault::NoFile);
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FileFault::Open(mode));
    }
    let mut text = Zeroizing::new(String::new());
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(FileFault::Long);
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(SecretString::from(line.strip_suffix('\r').unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cfg_02_sample_values_are_refused_however_they_are_spelled() {
        for sample in ["changeme", "CHANGE-ME", "guest", "postgres"] {
            for strength in [Strength::Any, Strength::Password, Strength::Key] {
                assert_eq!(strength.judge(sample), Err(Weakness::Sample), "{sample}");
            }
        }
        for sample in [
            "Your-Secret-Key-Change-In-Production!!",
            "your_jwt_secret_here_at_least_32_characters",
            "0123456789abcdef0123456789abcdef",
        ] {
            for strength in [Strength::Password, Strength::Key] {
                assert_eq!(strength.judge(sample), Err(Weakness::Sample), "{sample}");
            }
        }
    }

    #[test]
    fn cfg_02_the_border_of_a_key_is_32_characters() {
        let key = "kR7wZ2qLxV9nB4tYpM6sHd8fJ3gUcA5e";
        assert_eq!(Strength::Key.judge(key), Ok(()));
        let short = Weakness::Short {
            actual: 31,
            least: 32,
        };
        assert_eq!(Strength::Key.judge(&key[1..]), Err(short));
    }

    #[test]
    fn cfg_02_a_pattern_is_no_key() {
        assert_eq!(
            Strength::Key.judge(&"ab".repeat(20)),
            Err(Weakness::Pattern)
        );
        assert_eq!(Strength::Any.judge("  "), Err(Weakness::Blank));
    }
}
