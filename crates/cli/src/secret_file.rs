//! Files that only their owner may read.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

use rand::{Rng, distr::Alphanumeric};

/// Characters of a generated secret: 43 alphanumerics carry 256 bits.
const LENGTH: usize = 43;

/// Makes a random secret of 256 bits.
pub fn random() -> String {
    rand::rng()
        .sample_iter(Alphanumeric)
        .take(LENGTH)
        .map(char::from)
        .collect()
}

/// Returns what the file holds, and makes it with `content` and mode 0600 when there is none.
///
/// # Errors
/// Why the file can not be read or written.
pub fn ensure<E: From<io::Error>>(
    path: &Path,
    content: impl FnOnce() -> Result<String, E>,
) -> Result<String, E> {
    match fs::read_to_string(path) {
        Ok(text) => {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
            Ok(text.trim_end().to_owned())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = content()?;
            write(path, &text)?;
            Ok(text.trim_end().to_owned())
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes a file of mode 0600 in one step: readers see the old content or the whole new one.
///
/// # Errors
/// Why the file can not be written.
pub fn write(path: &Path, content: &str) -> io::Result<()> {
    let staged = path.with_extension("staged");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staged, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let made = ensure::<io::Error>(&path, || Ok(random())).unwrap();
        assert_eq!(ensure::<io::Error>(&path, || Ok(random())).unwrap(), made);
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(made.len(), LENGTH);
    }
}
