use sutazai_runtime::config::{Faults, Loaded, Source, load};

use super::*;

const STRONG: &str = "f3Zp9vQ1xK7mW2rT8yB4nC6dG5hJ0sLa";

fn source() -> Source {
    Source::from_pairs([
        ("SUTAZAI_PROFILE", "dev"),
        (
            "DATABASE_URL",
            "postgres://backend:f3Zp9vQ1xK7m@127.0.0.1/sutazai",
        ),
        ("SERVICE_KEY_FILE", "keys/backend.pem"),
        ("JWKS_FILE", "jwks.json"),
        ("USER_KEY_FILE", "keys/users.pem"),
        ("SECRET_KEY", STRONG),
        ("ADMIN_PASSWORD", "correct horse battery"),
    ])
}

/// The same settings without one of them.
fn without(name: &str) -> Source {
    let all = source();
    let names = [
        "SUTAZAI_PROFILE",
        "DATABASE_URL",
        "SERVICE_KEY_FILE",
        "JWKS_FILE",
        "USER_KEY_FILE",
        "SECRET_KEY",
        "ADMIN_PASSWORD",
    ];
    let left = names.into_iter().filter(|other| *other != name);
    Source::from_pairs(left.map(|name| (name, all.get(name).unwrap())))
}

fn read(source: &Source) -> Result<Loaded<Config>, Faults> {
    load(source)
}

fn faulty(source: &Source) -> Vec<String> {
    let faults = read(source).unwrap_err();
    faults
        .as_slice()
        .iter()
        .map(|fault| fault.name.clone())
        .collect()
}

#[test]
fn complete_settings_are_read() {
    let config = read(&source()).unwrap().config;
    assert!(matches!(config.user_key, UserKey::File(_)));
    assert_eq!(config.conversation_retention_days, RETENTION_DAYS);
    assert!(config.admin_api_key.is_none());
}

#[test]
fn cfg_01_without_any_setting_all_missing_ones_are_named() {
    let faulty = faulty(&Source::from_pairs(std::iter::empty::<(&str, &str)>()));
    for name in [
        "DATABASE_URL",
        "SERVICE_KEY_FILE",
        "JWKS_FILE",
        "USER_KEY_FILE",
        "SECRET_KEY",
        "ADMIN_PASSWORD",
    ] {
        assert!(
            faulty.iter().any(|fault| fault == name),
            "{name} is not among {faulty:?}"
        );
    }
}

#[test]
fn cfg_02_a_short_jwt_secret_is_refused() {
    for weak in [
        "short",
        &STRONG[..31],
        "changeme-changeme-changeme-changeme",
    ] {
        assert_eq!(
            faulty(&without("USER_KEY_FILE").with("JWT_SECRET", weak)),
            ["JWT_SECRET"],
            "{weak}"
        );
    }
}

#[test]
fn cfg_03_the_secret_key_is_required() {
    assert_eq!(faulty(&without("SECRET_KEY")), ["SECRET_KEY"]);
}

#[test]
fn cfg_04_the_old_name_of_the_jwt_secret_is_accepted_and_a_conflict_reported() {
    let seeded = without("USER_KEY_FILE").with("JWT_SECRET_KEY", STRONG);
    assert!(matches!(
        read(&seeded).unwrap().config.user_key,
        UserKey::Secret(_)
    ));
    let other: String = STRONG.chars().rev().collect();
    assert!(faulty(&seeded.with("JWT_SECRET", &other)).contains(&"JWT_SECRET".to_owned()));
}

#[test]
fn two_keys_for_tokens_are_one_too_many() {
    assert_eq!(
        faulty(&source().with("JWT_SECRET", STRONG)),
        ["USER_KEY_FILE"]
    );
}

#[test]
fn sec_11_a_wildcard_origin_is_refused_at_start() {
    assert_eq!(
        faulty(&source().with("CORS_ALLOWED_ORIGINS", "*")),
        ["CORS_ALLOWED_ORIGINS"]
    );
}

#[test]
fn sec_06_a_damaged_admin_key_is_refused_at_start() {
    let key = ApiKey::generate("dev").unwrap();
    let given = source().with("ADMIN_API_KEY", key.expose());
    assert!(read(&given).unwrap().config.admin_api_key.is_some());
    let damaged = format!("{}!", key.expose());
    assert_eq!(
        faulty(&source().with("ADMIN_API_KEY", &damaged)),
        ["ADMIN_API_KEY"]
    );
}

#[test]
fn cfg_09_no_secret_is_in_the_effective_configuration() {
    let loaded = read(&source()).unwrap();
    for secret in [STRONG, "correct horse battery", "f3Zp9vQ1xK7m"] {
        assert!(
            !loaded.effective().contains(secret),
            "{}",
            loaded.effective()
        );
    }
}

#[test]
fn a_key_that_nobody_could_verify_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let key = UserKey::Secret(STRONG.into());
    let signing = SigningKey::from_secret(&STRONG.into(), USER_TOKENS).unwrap();
    let publish = |issuer| {
        sutazai_auth::keys::write_jwks(&path, &[(issuer, signing.public().clone())]).unwrap();
        KeySet::open(&path).unwrap()
    };
    assert!(key.open(&publish(Issuer::Platform), &path).is_ok());
    let other = publish(Issuer::Service(ServiceName::Backend));
    assert!(matches!(
        key.open(&other, &path),
        Err(UserKeyError::NotPublished { .. })
    ));
}
