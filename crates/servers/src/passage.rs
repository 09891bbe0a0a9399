//! Folders on the way to what servers use: when root starts them, they run under another account, which
//! has to get through.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Others may pass through, but not look around.
pub(crate) const MODE: u32 = 0o711;

/// Makes a folder with all that is missing above it. When root makes them, others may pass through,
/// whatever the umask says; folders that are there stay as they are.
///
/// # Errors
/// Why a folder can not be made.
pub fn make(path: &Path) -> io::Result<()> {
    make_as(path, rustix::process::geteuid().is_root())
}

fn make_as(path: &Path, root: bool) -> io::Result<()> {
    let missing = path
        .ancestors()
        // The last of a relative path is empty.
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.is_dir());
    let missing: Vec<&Path> = missing.collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Ok(()) if root => fs::set_permissions(folder, Permissions::from_mode(MODE))?,
            Ok(()) => {}
            // Somebody else was quicker.
            Err(_) if folder.is_dir() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn others_pass_through_what_root_made_and_through_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let modes_of = |names: [&str; 3]| names.map(|name| mode(&folder.path().join(name)));
        let above = folder.path().join("a");
        let closed = Permissions::from_mode(0o700);
        fs::set_permissions(folder.path(), closed.clone()).unwrap();
        make_as(&above.join("b"), true).unwrap();
        assert_eq!(modes_of(["", "a", "a/b"]), [0o700, 0o711, 0o711]);

        fs::set_permissions(&above, closed).unwrap();
        make_as(&above.join("c/d"), true).unwrap();
        assert_eq!(modes_of(["a", "a/c", "a/c/d"]), [0o700, 0o711, 0o711]);
    }

    #[test]
    fn a_file_in_the_way_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(make(&file).is_err());
        assert!(make(&file.join("below")).is_err());
        make(folder.path()).unwrap();
    }
}
