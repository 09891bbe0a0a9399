//! Configuration as an operator meets it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sutazai_mesh::catalog::ServiceName;
use sutazai_proto::{Coded, ErrorCode};
use sutazai_runtime::{
    Configured, Source,
    config::{Base, Faults, Loaded, Profile, Reader, Strength},
    load,
};
use tempfile::TempDir;

/// Strong, and easy to find in any output.
const CANARY: &str = "cAn4ry-q8Zr2LxV9nBtYpM6sHd8fJ3gU";

#[derive(Debug)]
struct Sample {
    base: Base,
    jwt_secret: SecretString,
    secret_key: SecretString,
    upstream: Option<String>,
    limit: u32,
}

impl Configured for Sample {
    const SERVICE: ServiceName = ServiceName::Backend;

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        reader.alias("JWT_SECRET", "JWT_SECRET_KEY");
        reader.alias("UPSTREAM_URL", "UPSTREAM");
        let base = Base::read(reader, Self::SERVICE);
        let jwt_secret = reader.secret("JWT_SECRET", "seeds the first key", Strength::Key);
        let secret_key = reader.secret("SECRET_KEY", "signs cursors", Strength::Key);
        let upstream = reader.optional("UPSTREAM_URL", "where to ask");
        let limit = reader.within("LIMIT", "how many", 10, 1..=100);
        Some(Self {
            base: base?,
            jwt_secret: jwt_secret?,
            secret_key: secret_key?,
            upstream,
            limit,
        })
    }
}

/// A folder with secret files of the right mode.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, text).expect("the file is written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode is set");
        path.display().to_string()
    }
}

fn dev() -> Source {
    Source::from_pairs([
        ("SUTAZAI_PROFILE", "dev"),
        ("JWT_SECRET", CANARY),
        ("SECRET_KEY", CANARY),
    ])
}

fn read(source: &Source) -> Result<Loaded<Sample>, Faults> {
    load(source)
}

fn names(faults: &Faults) -> Vec<&str> {
    let faults = faults.as_slice();
    faults.iter().map(|fault| fault.name.as_str()).collect()
}

#[test]
fn cfg_01_nothing_set_names_every_required_setting_at_once() {
    let faults = read(&Source::default()).unwrap_err();
    assert_eq!(names(&faults), ["JWT_SECRET", "SECRET_KEY"]);
    let text = faults.to_string();
    for part in [
        "2 settings are missing or invalid",
        "JWT_SECRET: is required: seeds the first key",
        "JWT_SECRET_FILE, the path of a file of mode 0600",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(Faults::EXIT_CODE, 78);
    assert_eq!(faults.code(), ErrorCode::InvalidArgument);
    assert_eq!(faults.details().violations.len(), 2);
}

#[test]
fn cfg_01_missing_and_invalid_settings_come_in_one_answer() {
    let source = Source::from_pairs([
        ("SUTAZAI_PROFILE", "staging"),
        ("HTTP_LISTEN", "8000"),
        ("GRPC_LISTEN", "0.0.0.0:50051"),
        ("DRAIN_GRACE_SECONDS", "-1"),
        ("LIMIT", "101"),
    ]);
    let faults = read(&source).unwrap_err();
    assert_eq!(
        names(&faults),
        [
            "SUTAZAI_PROFILE",
            "HTTP_LISTEN",
            "ADVERTISE_ADDRESS",
            "DRAIN_GRACE_SECONDS",
            "JWT_SECRET",
            "SECRET_KEY",
            "LIMIT",
        ]
    );
    let text = faults.to_string();
    for part in [
        "`staging` is invalid: it is neither `dev` nor `production`",
        "must be from 1 to 100",
        "environment variable HTTP_LISTEN",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn cfg_02_short_jwt_secret_is_refused() {
    let faults = read(&dev().with("JWT_SECRET", &CANARY[..31])).unwrap_err();
    assert_eq!(names(&faults), ["JWT_SECRET"]);
    let text = faults.to_string();
    assert!(text.contains("31 characters, but at least 32"), "{text}");
    assert!(!text.contains(&CANARY[..31]), "{text}");
}

#[test]
fn cfg_02_sample_jwt_secret_is_refused_by_name() {
    let sample = "your-secret-key-change-this-in-production";
    let faults = read(&dev().with("JWT_SECRET", sample)).unwrap_err();
    assert_eq!(names(&faults), ["JWT_SECRET"]);
    assert!(faults.to_string().contains("known sample"), "{faults}");
}

#[test]
fn cfg_03_secret_key_is_required() {
    let faults = read(&dev().with("SECRET_KEY", "")).unwrap_err();
    assert_eq!(names(&faults), ["SECRET_KEY"]);
}

#[test]
fn cfg_04_an_old_name_works_and_a_conflict_is_reported() {
    let other = CANARY.to_lowercase();
    let by_old_name = dev()
        .with("JWT_SECRET", "")
        .with("JWT_SECRET_KEY", &other)
        .with("UPSTREAM", "http://a");
    let loaded = read(&by_old_name).unwrap();
    assert_eq!(loaded.config.jwt_secret.expose_secret(), other);
    assert_eq!(loaded.config.upstream.as_deref(), Some("http://a"));

    let same = dev().with("JWT_SECRET_KEY", CANARY);
    assert!(read(&same).is_ok(), "the same value twice is no conflict");

    let differ = dev()
        .with("JWT_SECRET_KEY", other)
        .with("UPSTREAM", "http://a")
        .with("UPSTREAM_URL", "http://b");
    let faults = read(&differ).unwrap_err();
    assert_eq!(names(&faults), ["JWT_SECRET", "UPSTREAM_URL"]);
    let text = faults.to_string();
    assert!(
        text.contains("JWT_SECRET and JWT_SECRET_KEY are both set"),
        "{text}"
    );
}

#[test]
fn cfg_07_secrets_come_from_files_that_only_their_owner_reaches() {
    let folder = Folder::new();
    let source = Source::from_pairs([
        (
            "JWT_SECRET_FILE",
            folder.file("jwt", &format!("{CANARY}\n"), 0o600),
        ),
        ("SECRET_KEY_FILE", folder.file("key", CANARY, 0o400)),
    ]);
    let loaded = read(&source).unwrap();
    assert_eq!(loaded.config.base.profile, Profile::Production);
    assert_eq!(loaded.config.jwt_secret.expose_secret(), CANARY);
    assert_eq!(loaded.config.secret_key.expose_secret(), CANARY);

    for mode in [0o640, 0o604, 0o660] {
        let open = source
            .clone()
            .with("SECRET_KEY_FILE", folder.file("open", CANARY, mode));
        let faults = read(&open).unwrap_err();
        assert_eq!(names(&faults), ["SECRET_KEY"], "{mode:o}");
        let text = faults.to_string();
        assert!(text.contains(&format!("{mode:04o}")), "{text}");
    }
}

#[test]
fn cfg_07_a_missing_file_or_a_folder_is_a_fault() {
    let folder = Folder::new();
    for path in ["/nowhere/at/all", &folder.0.path().display().to_string()] {
        let source = dev().with("SECRET_KEY", "").with("SECRET_KEY_FILE", path);
        let faults = read(&source).unwrap_err();
        assert_eq!(names(&faults), ["SECRET_KEY"]);
        assert!(faults.to_string().contains(path), "{faults}");
    }
}

#[test]
fn cfg_07_production_refuses_a_secret_by_value_even_beside_a_file() {
    let folder = Folder::new();
    let file = folder.file("key", CANARY, 0o600);
    let source = dev()
        .with("SUTAZAI_PROFILE", "production")
        .with("SECRET_KEY_FILE", file);
    let faults = read(&source).unwrap_err();
    assert_eq!(names(&faults), ["JWT_SECRET", "SECRET_KEY"]);
    let text = faults.to_string();
    assert!(text.contains("which production refuses"), "{text}");
    assert!(!text.contains(CANARY), "{text}");
}

#[test]
fn cfg_07_dev_takes_a_secret_by_value_with_a_warning() {
    let loaded = read(&dev()).unwrap();
    assert_eq!(loaded.warnings.len(), 2);
    assert!(
        loaded.warnings[0].contains("JWT_SECRET"),
        "{:?}",
        loaded.warnings
    );
}

#[test]
fn cfg_09_no_view_of_the_configuration_shows_a_secret() {
    let source = dev()
        .with("JWT_SECRET_KEY", CANARY)
        .with("UPSTREAM_URL", format!("http://user:{CANARY}@host/path"));
    let loaded = read(&source).unwrap();
    let views = [
        loaded.effective(),
        format!("{:?}", loaded.settings),
        format!("{:?}", loaded.warnings),
        format!("{source:?}"),
    ];
    for view in views {
        assert!(!view.contains(CANARY), "{view}");
    }
    let effective = loaded.effective();
    for line in [
        "JWT_SECRET=(secret, given by value in JWT_SECRET)",
        "UPSTREAM_URL=http://***@host/path",
        "LIMIT=10",
        "DRAIN_GRACE_SECONDS=20",
        "SUTAZAI_PROFILE=dev",
    ] {
        assert!(effective.contains(line), "{effective}");
    }
}

#[test]
fn cfg_09_an_invalid_value_with_a_password_is_shown_without_it() {
    let source = dev().with("LIMIT", format!("http://user:{CANARY}@host"));
    let text = read(&source).unwrap_err().to_string();
    assert!(
        text.contains("http://***@host") && !text.contains(CANARY),
        "{text}"
    );
}

#[test]
fn defaults_and_fractions_of_seconds() {
    let loaded = read(&dev().with("DRAIN_GRACE_SECONDS", "0.5")).unwrap();
    let Sample { base, limit, .. } = loaded.config;
    assert_eq!(base.drain_grace, Duration::from_millis(500));
    assert_eq!(base.deregister_pause, None);
    assert_eq!(base.http_listen.port(), 10010);
    assert_eq!(limit, 10);
}
