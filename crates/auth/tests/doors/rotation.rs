//! Keys come and go while the process runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use chrono::Utc;
use secrecy::ExposeSecret;
use serde_json::json;
use sutazai_auth::{
    AuthError, Identity, Refusal,
    keys::{Issuer, KeyError, KeySet, PublicKey, SigningKey, write_jwks},
    token::{self, Audience, Verifier},
};
use sutazai_mesh::catalog::ServiceName;

use crate::genuine::alice;

const PLATFORM: Issuer = Issuer::Platform;

/// Polls until it holds; a change is seen within about a second.
fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "not in time: {what}"
        );
        thread::sleep(Duration::from_millis(50));
    }
}

fn publish(path: &Path, keys: &[&SigningKey]) {
    let keys: Vec<(Issuer, PublicKey)> = keys
        .iter()
        .map(|key| (PLATFORM, key.public().clone()))
        .collect();
    write_jwks(path, &keys).unwrap();
}

#[test]
fn sec_02_keys_are_added_and_withdrawn_while_tokens_are_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let [first, second] = [(); 2].map(|()| SigningKey::generate().unwrap());
    publish(&path, &[&first]);
    let verifier = Verifier::new(KeySet::open(&path).unwrap());
    let token = |key| token::issue_user(key, &alice(), Utc::now()).unwrap().token;
    let holds = |token: &str| match verifier.verify(token, Audience::Doors) {
        Ok(_) => true,
        Err(AuthError::Invalid(Refusal::UnknownKey)) => false,
        Err(other) => panic!("{other:?}"),
    };
    let (one, two) = (token(&first), token(&second));
    assert!(holds(&one) && !holds(&two));

    publish(&path, &[&first, &second]);
    eventually("a key that was added is found", || holds(&two));
    assert!(holds(&one), "the one before holds on");

    publish(&path, &[&second]);
    eventually("a withdrawn key takes remembered tokens with it", || {
        !holds(&one)
    });
    assert!(holds(&two));

    // A slip of an editor changes nothing: two looks later the keys are still the same.
    fs::write(&path, "{").unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_millis(2_200) {
        assert!(holds(&two) && !holds(&one));
        thread::sleep(Duration::from_millis(50));
    }
    publish(&path, &[&first, &second]);
    eventually("the file is followed again", || holds(&one));
}

#[test]
fn sec_02_a_set_publishes_one_issuers_keys_and_nothing_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let [user, backend] = [(); 2].map(|()| SigningKey::generate().unwrap());
    let service = Issuer::Service(ServiceName::Backend);
    write_jwks(
        &path,
        &[
            (PLATFORM, user.public().clone()),
            (service, backend.public().clone()),
        ],
    )
    .unwrap();
    let document = KeySet::open(&path).unwrap().jwks(PLATFORM);
    let expected = json!({"keys": [{
        "kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "iss": "sutazai",
        "kid": user.public().kid(), "x": user.public().x(),
    }]});
    assert_eq!(document, expected);
}

#[test]
fn a_set_with_a_fault_is_refused_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let key = SigningKey::generate().unwrap();
    publish(&path, &[&key]);
    let good: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let other = SigningKey::generate().unwrap();
    let faults = [
        ("kty", "oct"),
        ("crv", "X25519"),
        ("use", "enc"),
        ("alg", "HS256"),
        ("kid", "1"),
        ("kid", other.public().kid()),
        ("x", "AAAA"),
        ("iss", "somebody"),
    ];
    for (member, value) in faults {
        let mut set = good.clone();
        set["keys"][0][member] = json!(value);
        fs::write(&path, set.to_string()).unwrap();
        let error = KeySet::open(&path).unwrap_err();
        assert!(
            matches!(error, KeyError::Member { .. }),
            "{member}: {error}"
        );
    }
    let twice = json!({"keys": [good["keys"][0], good["keys"][0]]});
    fs::write(&path, twice.to_string()).unwrap();
    assert!(matches!(KeySet::open(&path), Err(KeyError::Member { .. })));
    fs::write(&path, "[]").unwrap();
    assert!(matches!(KeySet::open(&path), Err(KeyError::Set(_))));
    fs::remove_file(&path).unwrap();
    assert!(matches!(KeySet::open(&path), Err(KeyError::File { .. })));
}

#[test]
fn a_service_whose_key_is_not_published_for_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let (key_file, jwks_file) = (
        folder.path().join("key.pem"),
        folder.path().join("jwks.json"),
    );
    let key = SigningKey::generate().unwrap();
    fs::write(&key_file, key.to_pem().expose_secret()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let start = |issuer| {
        write_jwks(&jwks_file, &[(issuer, key.public().clone())]).unwrap();
        Identity::from_files(ServiceName::Backend, &key_file, &jwks_file)
    };
    let identity = start(Issuer::Service(ServiceName::Backend)).unwrap();
    assert_eq!(identity.service(), ServiceName::Backend);
    for issuer in [PLATFORM, Issuer::Service(ServiceName::OllamaProxy)] {
        assert!(
            matches!(start(issuer), Err(KeyError::NotPublished { .. })),
            "{issuer}"
        );
    }
}
