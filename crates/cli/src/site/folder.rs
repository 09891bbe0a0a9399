//! The folder that keeps the state of `sutazai dev`: one process at a time, closed to other people.

use std::{
    fs,
    io::{Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use sutazai_servers::{moved, passage};

use super::Error;

/// Layout version of the folder; a newer one is refused.
const LAYOUT: u32 = 1;

/// The folder, locked by this process until dropped.
#[derive(Debug)]
pub struct Folder {
    root: PathBuf,
    // The kernel drops the lock with the process, also after a kill -9.
    lock: fs::File,
}

impl Folder {
    /// Makes the folder where there is none and locks it.
    ///
    /// # Errors
    /// [`Error::Taken`] when another `sutazai dev` holds it, [`Error::Newer`] when a newer version
    /// wrote it.
    pub fn open(root: &Path, reset: bool) -> Result<Self, Error> {
        let io = |source| Error::Folder {
            path: root.to_owned(),
            source,
        };
        passage::make(root).map_err(io)?;
        let root = fs::canonicalize(root).map_err(io)?;
        let lock = Self::lock(&root)?;
        if reset {
            Self::clear(&root).map_err(io)?;
        }
        let folder = Self { root, lock };
        folder.check_layout()?;
        for name in ["keys", "secrets"] {
            let path = folder.path(name);
            fs::create_dir_all(&path).map_err(io)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).map_err(io)?;
        }
        // Others may pass through, because the database's own account has to, but not look around.
        fs::set_permissions(&folder.root, fs::Permissions::from_mode(0o711)).map_err(io)?;
        Ok(folder)
    }

    /// Returns the process that holds a folder, if one does.
    pub fn holder(root: &Path) -> Option<u32> {
        let path = root.join("lock");
        let file = fs::File::open(&path).ok()?;
        if flock(&file, FlockOperation::NonBlockingLockShared).is_ok() {
            return None;
        }
        fs::read_to_string(path).ok()?.trim().parse().ok()
    }

    /// Returns the path of an entry.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    fn lock(root: &Path) -> Result<fs::File, Error> {
        let path = root.join("lock");
        let io = |source| Error::Folder {
            path: path.clone(),
            source,
        };
        let mut options = fs::OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(io)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(io)?;
            return Err(Error::Taken {
                folder: root.to_owned(),
                pid: holder.trim().to_owned(),
            });
        }
        file.set_len(0).map_err(io)?;
        file.rewind().map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(file)
    }

    /// Removes everything but the lock, which we hold.
    fn clear(root: &Path) -> std::io::Result<()> {
        // First what lives elsewhere: an entry here says where.
        moved::forget(root)?;
        for entry in fs::read_dir(root)? {
            let path = entry?.path();
            match path.file_name().and_then(|name| name.to_str()) {
                // Downloaded programs are no state.
                Some("lock" | "bin" | "node_modules" | "up" | "logs") => {}
                _ if path.is_dir() => fs::remove_dir_all(path)?,
                _ => fs::remove_file(path)?,
            }
        }
        Ok(())
    }

    fn check_layout(&self) -> Result<(), Error> {
        let path = self.path("layout");
        let found = fs::read_to_string(&path)
            .ok()
            .and_then(|text| text.trim().parse().ok());
        match found {
            Some(found) if found > LAYOUT => Err(Error::Newer {
                folder: self.root.clone(),
                found,
            }),
            Some(_) => Ok(()),
            None => fs::write(&path, format!("{LAYOUT}\n"))
                .map_err(|source| Error::Folder { path, source }),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Closing alone would leave the lock to a child that is just being started, until it has
        // replaced itself by its program.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_on_the_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let first = Folder::open(root.path(), false).unwrap();
        let Err(Error::Taken { pid, .. }) = Folder::open(root.path(), false) else {
            panic!("two processes on one folder");
        };
        assert_eq!(pid, std::process::id().to_string());
        assert_eq!(Folder::holder(root.path()), Some(std::process::id()));
        drop(first);
        assert_eq!(Folder::holder(root.path()), None);
        Folder::open(root.path(), false).unwrap();
    }

    #[test]
    fn roots_servers_get_through_what_is_made() {
        let root = tempfile::tempdir().unwrap();
        let made = root.path().join("state");
        Folder::open(&made.join("up"), false).unwrap();
        let found = fs::metadata(&made).unwrap().permissions().mode() & 0o777;
        // Another user's servers are under his own account.
        let wanted = if rustix::process::geteuid().is_root() {
            0o711
        } else {
            found | 0o700
        };
        assert_eq!(found, wanted);
    }

    #[test]
    fn data_of_a_newer_version_is_refused_and_reset_starts_afresh() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("layout"), "99\n").unwrap();
        assert!(matches!(
            Folder::open(root.path(), false),
            Err(Error::Newer { found: 99, .. })
        ));
        Folder::open(root.path(), true).unwrap();
        Folder::open(root.path(), false).unwrap();
    }
}
