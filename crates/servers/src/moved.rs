//! Data that lives elsewhere, because its server's account can not reach where it is wanted, as in a home
//! folder of mode 0700.
//!
//! A link in the folder where it is wanted says where it is, under a random name. So whoever lost the
//! link lost the way to the data: it would be of no use without the secrets beside the link.

use std::{
    fs::{self, Permissions},
    io::{self, Read},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use crate::{
    account::{Account, fnv1a},
    passage,
};

/// Name of the link.
const LINK: &str = "moved-data";

/// Returns where data wanted at `path` can really live, and makes all but the last folder of it.
pub(crate) fn reachable(path: &Path, account: Account) -> io::Result<PathBuf> {
    elsewhere().reachable(path, account)
}

/// Returns where data wanted at `path` lives by now; nothing is made or moved.
pub fn resolved(path: &Path) -> PathBuf {
    // An ordinary user's servers run under his own account, which leaves everything in place.
    let moved = Account::for_servers().and_then(|_| elsewhere().resolved(path));
    moved.unwrap_or_else(|| path.to_owned())
}

/// Removes the data that was wanted in `folder` and lives elsewhere.
///
/// # Errors
/// Why it can not be removed.
pub fn forget(folder: &Path) -> io::Result<()> {
    elsewhere().forget(folder)
}

fn elsewhere() -> Elsewhere<'static> {
    Elsewhere(Path::new("/var/lib/sutazai"))
}

/// The folder that holds all moved data.
struct Elsewhere<'a>(&'a Path);

impl Elsewhere<'_> {
    fn reachable(&self, path: &Path, account: Account) -> io::Result<PathBuf> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(path.to_owned());
        };
        passage::make(folder)?;
        let folder = folder.canonicalize()?;
        let place = match self.linked(&folder) {
            // What has moved stays there, also when the way here is open by now.
            Some(place) => place,
            None if account.reaches(path) => return Ok(path.to_owned()),
            None => self.link(&folder)?,
        };
        passage::make(&place)?;
        // It may be older, and closed.
        fs::set_permissions(self.0, Permissions::from_mode(passage::MODE))?;
        Ok(place.join(name))
    }

    fn resolved(&self, path: &Path) -> Option<PathBuf> {
        let folder = path.parent()?.canonicalize().ok()?;
        Some(self.linked(&folder)?.join(path.file_name()?))
    }

    fn forget(&self, folder: &Path) -> io::Result<()> {
        let folder = folder.canonicalize()?;
        let Some(place) = self.linked(&folder) else {
            return Ok(());
        };
        match fs::remove_dir_all(place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::remove_file(folder.join(LINK)),
        }
    }

    /// Follows the link of a folder. One that came with a copy of another folder is none: two servers
    /// must not work on the same data.
    fn linked(&self, folder: &Path) -> Option<PathBuf> {
        let place = fs::read_link(folder.join(LINK)).ok()?;
        let name = place.file_name()?.to_str()?;
        let own = place.parent() == Some(self.0) && name.ends_with(&mark(folder));
        own.then_some(place)
    }

    /// Makes the link of a folder, to a place that nothing was ever in.
    fn link(&self, folder: &Path) -> io::Result<PathBuf> {
        let mut id = [0; 16];
        fs::File::open("/dev/urandom")?.read_exact(&mut id)?;
        let id = u128::from_ne_bytes(id);
        let place = self.0.join(format!("{id:032x}{}", mark(folder)));
        let link = folder.join(LINK);
        match symlink(&place, &link) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                // Another server of this folder was quicker, or the link came with a copy.
                if let Some(theirs) = self.linked(folder) {
                    return Ok(theirs);
                }
                fs::remove_file(&link)?;
                symlink(&place, &link)?;
            }
            made => made?,
        }
        Ok(place)
    }
}

/// Returns the end of the names of places that belong to a folder.
fn mark(folder: &Path) -> String {
    format!("-{:016x}", fnv1a(folder.as_os_str().as_encoded_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: Account = Account {
        uid: 4242,
        gid: 4242,
    };

    /// A state folder below a home, and a place for what moves.
    struct Machine {
        root: tempfile::TempDir,
        state: PathBuf,
        elsewhere: PathBuf,
    }

    impl Machine {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let machine = Self {
                state: root.path().join("home/state"),
                elsewhere: root.path().join("elsewhere"),
                root,
            };
            fs::create_dir_all(&machine.state).unwrap();
            set_mode(machine.root.path(), 0o711);
            set_mode(&machine.state, 0o711);
            machine.home(0o700);
            machine
        }

        /// Lets strangers in, or not.
        fn home(&self, mode: u32) {
            set_mode(&self.root.path().join("home"), mode);
        }

        fn elsewhere(&self) -> Elsewhere<'_> {
            Elsewhere(&self.elsewhere)
        }

        /// Starts a server as far as it makes its data.
        fn start(&self, server: &str) -> PathBuf {
            let wanted = self.state.join(server);
            let data = self.elsewhere().reachable(&wanted, STRANGER).unwrap();
            fs::create_dir_all(&data).unwrap();
            data
        }
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_closed_folder_on_the_way_moves_the_data() {
        let machine = Machine::new();
        let wanted = machine.state.join("postgres");
        machine.home(0o711);
        assert_eq!(machine.start("postgres"), wanted);
        assert_eq!(machine.elsewhere().resolved(&wanted), None);

        machine.home(0o700);
        let moved = machine.start("postgres");
        assert!(moved.starts_with(&machine.elsewhere), "{moved:?}");
        assert_eq!(machine.elsewhere().resolved(&wanted), Some(moved.clone()));
        // It is not lost when somebody opens the way.
        machine.home(0o711);
        assert_eq!(machine.start("postgres"), moved);
    }

    #[test]
    fn the_account_gets_to_what_has_moved() {
        let machine = Machine::new();
        fs::create_dir(&machine.elsewhere).unwrap();
        set_mode(&machine.elsewhere, 0o700);
        machine.start("postgres");
        let mode = fs::metadata(&machine.elsewhere).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o711);
    }

    #[test]
    fn servers_have_data_of_their_own() {
        let machine = Machine::new();
        let [one, other] = ["postgres", "redis"].map(|name| machine.start(name));
        assert_ne!(one, other);
        assert_eq!(one.parent(), other.parent(), "one link is for all");
    }

    #[test]
    fn without_the_link_the_data_is_new() {
        let machine = Machine::new();
        let lost = machine.start("postgres");
        fs::remove_dir_all(&machine.state).unwrap();
        fs::create_dir(&machine.state).unwrap();
        assert_ne!(machine.start("postgres"), lost);
    }

    #[test]
    fn what_is_forgotten_is_gone() {
        let machine = Machine::new();
        machine.elsewhere().forget(&machine.state).unwrap();
        let old = machine.start("postgres");
        machine.elsewhere().forget(&machine.state).unwrap();
        assert!(!old.exists());
        assert_eq!(fs::read_dir(&machine.elsewhere).unwrap().count(), 0);
        assert_eq!(fs::read_dir(&machine.state).unwrap().count(), 0);
        assert_ne!(machine.start("postgres"), old);
    }

    #[test]
    fn the_link_of_another_folder_is_not_followed() {
        let machine = Machine::new();
        let original = machine.start("postgres");
        let link = fs::read_link(machine.state.join(LINK)).unwrap();
        let copy = Machine {
            state: machine.root.path().join("home/copy"),
            ..machine
        };
        fs::create_dir(&copy.state).unwrap();
        symlink(link, copy.state.join(LINK)).unwrap();
        copy.elsewhere().forget(&copy.state).unwrap();
        assert!(original.exists());
        assert_ne!(copy.start("postgres"), original);
    }

    #[test]
    fn a_link_to_what_is_no_moved_data_is_not_followed() {
        let machine = Machine::new();
        let foreign = machine.root.path().join("foreign");
        let named = format!("data{}", mark(&machine.state.canonicalize().unwrap()));
        fs::create_dir_all(foreign.join(&named)).unwrap();
        symlink(foreign.join(&named), machine.state.join(LINK)).unwrap();
        machine.elsewhere().forget(&machine.state).unwrap();
        assert!(foreign.join(&named).exists());
        let moved = machine.start("postgres");
        assert!(moved.starts_with(&machine.elsewhere), "{moved:?}");
    }
}
