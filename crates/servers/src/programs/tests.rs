use std::os::unix::fs::PermissionsExt;

use super::*;

const PROGRAM: Program = Program {
    name: "hello",
    package: "example.com/hello",
    variable: "HELLO_BIN_OF_A_TEST",
    module: "module hello\n",
    checksums: "",
    minutes: 1,
    hint: "elsewhere: set HELLO_BIN",
};

/// Stands for Go: counts its runs beside itself and takes a while.
fn go(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("go");
    let text = format!("#!/bin/sh\necho run >> {}/runs\n{body}\n", folder.display());
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn runs(folder: &Path) -> usize {
    fs::read_to_string(folder.join("runs")).map_or(0, |text| text.lines().count())
}

#[tokio::test]
async fn builds_at_the_same_time_are_one() {
    let folder = tempfile::tempdir().unwrap();
    let go = go(folder.path(), "sleep 0.5; echo \"$MARK\" > \"$6\"");
    let cache = folder.path().join("cache");
    let build = || build::once(&PROGRAM, &cache, || Ok(go.clone()), &[("MARK", "made")]);
    let (one, two, three) = tokio::join!(build(), build(), build());
    let path = one.unwrap();
    assert_eq!([&two.unwrap(), &three.unwrap()], [&path, &path]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "made\n");
    assert_eq!(runs(folder.path()), 1);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755, "the servers' account can not run it");
    if rustix::process::geteuid().is_root() {
        for folder in [cache.as_path(), path.parent().unwrap()] {
            let mode = fs::metadata(folder).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o711, "nor get to it in {folder:?}");
        }
    }
    // Later ones take what is there, without any Go.
    let later = build::once(&PROGRAM, &cache, || Err(PROGRAM.no_go(String::new())), &[]);
    assert_eq!(later.await.unwrap(), path);
}

#[tokio::test]
async fn a_failed_build_leaves_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let go = go(
        folder.path(),
        "echo half > \"$6\"; echo no network >&2; exit 1",
    );
    let build = || build::once(&PROGRAM, folder.path(), || Ok(go.clone()), &[]);
    let error = build().await.unwrap_err();
    assert!(error.to_string().contains("no network"), "{error}");
    assert!(build().await.is_err(), "it is tried again");
    assert_eq!(runs(folder.path()), 2);
}

#[test]
fn other_pins_are_another_program() {
    let cache = Path::new("/cache");
    let other = Program {
        checksums: "other",
        ..PROGRAM
    };
    assert_ne!(PROGRAM.built(cache), other.built(cache));
}

#[test]
fn what_is_missing_is_named_with_the_way_to_get_it() {
    let text = PROGRAM.no_go("Go is needed".to_owned()).to_string();
    for part in [
        "hello was not found",
        "Go is needed",
        "go.dev/dl",
        "HELLO_BIN",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
}
