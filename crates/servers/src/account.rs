//! The unprivileged account that a server runs under when we are root.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

/// User and group ids of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// Returns the account to change to: none unless we are root, then `postgres`, else `nobody`.
    pub(crate) fn for_servers() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| Self::parse(&passwd, name))
    }

    fn parse(passwd: &str, name: &str) -> Option<Self> {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Self {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }

    /// Makes this account the owner of a folder and of everything in it.
    pub(crate) fn own(self, folder: &Path) -> io::Result<()> {
        std::os::unix::fs::lchown(folder, Some(self.uid), Some(self.gid))?;
        if fs::symlink_metadata(folder)?.is_dir() {
            for entry in fs::read_dir(folder)? {
                self.own(&entry?.path())?;
            }
        }
        Ok(())
    }

    /// Says whether this account can enter every folder above `path`.
    pub(crate) fn reaches(self, path: &Path) -> bool {
        path.ancestors()
            .skip(1)
            .filter(|folder| folder.exists())
            .all(|folder| {
                let Ok(meta) = fs::metadata(folder) else {
                    return false;
                };
                let shift = match (meta.uid() == self.uid, meta.gid() == self.gid) {
                    (true, _) => 6,
                    (_, true) => 3,
                    _ => 0,
                };
                (meta.permissions().mode() >> shift) & 1 == 1
            })
    }
}

/// 64-bit FNV-1a: the same folder has to give the same name in every version of this program, which
/// the standard library's hasher does not promise.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65533::/:/bin/false\n";

    #[test]
    fn an_account_is_read_from_its_line() {
        assert_eq!(
            Account::parse(PASSWD, "nobody"),
            Some(Account {
                uid: 65534,
                gid: 65533
            })
        );
        assert_eq!(Account::parse(PASSWD, "postgres"), None);
    }
}
