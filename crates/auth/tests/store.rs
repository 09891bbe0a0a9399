//! Accounts and API keys on a real Postgres.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeSet, future, time::Duration};

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use secrecy::SecretString;
use sqlx::query;
use sutazai_auth::{
    AuthError, Permission, Principal, Refusal, Role,
    api_key::ApiKey,
    http::Authenticator,
    keys::KeySet,
    store::{ADMIN, Accounts, DEFAULT_LIFE, Grant, Keys, LIFE_LIMIT, MIGRATOR, SCHEMA},
    token::Verifier,
};
use sutazai_persistence::{
    Database,
    migrate::{migrate, verify},
    postgres::Settings,
    provision::{Login, provision},
};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::Breakers;
use sutazai_servers::scratch;
use tokio::{
    task,
    time::{Instant, sleep},
};
use uuid::Uuid;

const PASSWORD: &str = "correct horse battery staple";
/// Of the database's logins.
const PASSWORD_IN_URL: &str = "only-for-this-test";
const ALL: [Permission; 2] = [Permission::TasksRead, Permission::ChatUse];

struct World {
    db: Database,
    accounts: Accounts,
    keys: Keys,
}

impl World {
    async fn new() -> Self {
        let url = SecretString::from(scratch::database().await.unwrap());
        migrate(&url, SCHEMA, &MIGRATOR).await.unwrap();
        Self::at(url).await
    }

    async fn at(url: SecretString) -> Self {
        let mut settings = Settings::new(url, SCHEMA, "auth-tests");
        (settings.pool_min, settings.pool_max) = (0, 4);
        let db = Database::connect(&settings, &Breakers::new())
            .await
            .unwrap();
        Self {
            accounts: Accounts::new(db.clone()),
            keys: Keys::new(db.clone()),
            db,
        }
    }

    async fn admin(&self) -> Principal {
        let admin = self.accounts.ensure_admin(&PASSWORD.into()).await.unwrap();
        admin.principal()
    }

    /// Changes the tables as another process would.
    async fn change(&self, statement: &'static str) {
        query(statement).execute(self.db.pool()).await.unwrap();
    }

    /// Makes a key and stores it.
    async fn key(&self, owner: &Principal, scopes: &[Permission]) -> (ApiKey, Uuid) {
        let key = ApiKey::generate("test").unwrap();
        let stored = self.keys.insert(owner, &grant(scopes), &key).await.unwrap();
        (key, stored.unwrap().id)
    }

    /// Another process, with a cache of its own that follows the changes.
    async fn replica(&self) -> (Keys, task::JoinHandle<()>) {
        let keys = Keys::new(self.db.clone());
        let following = task::spawn(keys.clone().follow(future::pending()));
        // Only then does what follows show that changes are heard.
        let begun = Instant::now();
        while self.listeners().await == 0 {
            assert!(begun.elapsed() < Duration::from_secs(10), "nobody listens");
            sleep(Duration::from_millis(20)).await;
        }
        (keys, following)
    }

    async fn listeners(&self) -> i64 {
        let listeners = sqlx::query_scalar(
            "select count(*) from pg_stat_activity
             where datname = current_database() and query ilike 'listen %'",
        );
        listeners.fetch_one(self.db.pool()).await.unwrap()
    }
}

fn grant(scopes: &[Permission]) -> Grant {
    Grant {
        name: "laptop".into(),
        scopes: scopes.iter().copied().collect(),
        life: DEFAULT_LIFE,
    }
}

fn is_unknown(outcome: &Result<Principal, AuthError>) -> bool {
    matches!(outcome, Err(AuthError::Invalid(Refusal::KeyUnknown)))
}

/// Asks until the key is refused as unknown; far less than the life of a cached answer.
async fn soon_unknown(keys: &Keys, key: &ApiKey) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) {
        if is_unknown(&keys.find_by_hash(key.hash()).await) {
            return true;
        }
        sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn sec_16_the_first_account_is_made_once_and_logs_in() {
    let world = World::new().await;
    let admin = world.accounts.ensure_admin(&PASSWORD.into()).await.unwrap();
    assert_eq!(
        (admin.name.as_str(), &admin.roles[..]),
        (ADMIN, &[Role::Admin][..])
    );
    // A second start, with whatever password its settings name, changes nothing.
    let again = world
        .accounts
        .ensure_admin(&"another password".into())
        .await
        .unwrap();
    assert_eq!(again, admin);

    let principal = world.accounts.login(ADMIN, &PASSWORD.into()).await.unwrap();
    assert_eq!(principal, admin.principal());
    assert!(principal.may(Permission::SystemRead));
    for (name, password) in [
        (ADMIN, "another password"),
        (ADMIN, ""),
        ("nobody", PASSWORD),
        ("", PASSWORD),
        ("Admin", PASSWORD),
        ("admin\0", PASSWORD),
        ("' or true --", PASSWORD),
    ] {
        let outcome = world.accounts.login(name, &password.into()).await;
        assert!(
            matches!(outcome, Err(AuthError::Login)),
            "{name:?}: {outcome:?}"
        );
    }
    world
        .change("update accounts set disabled_at = now()")
        .await;
    let outcome = world.accounts.login(ADMIN, &PASSWORD.into()).await;
    assert!(matches!(outcome, Err(AuthError::Login)));
}

#[tokio::test]
async fn sec_16_two_replicas_may_start_at_once() {
    let world = World::new().await;
    let other = Accounts::new(world.db.clone());
    let password = SecretString::from(PASSWORD);
    let (one, two) = tokio::join!(
        world.accounts.ensure_admin(&password),
        other.ensure_admin(&password)
    );
    assert_eq!(one.unwrap(), two.unwrap());
}

#[tokio::test]
async fn an_outdated_hash_is_made_anew_at_login() {
    let world = World::new().await;
    world.admin().await;
    // The same password with other settings.
    let weaker = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IGtub3dzIGl0$";
    let outdated = hash_with(19_456, 2);
    assert!(outdated.starts_with(&weaker[..30]));
    query("update accounts set password_hash = $1")
        .bind(&outdated)
        .execute(world.db.pool())
        .await
        .unwrap();
    for _ in 0..2 {
        world.accounts.login(ADMIN, &PASSWORD.into()).await.unwrap();
    }
    let stored: String = sqlx::query_scalar("select password_hash from accounts")
        .fetch_one(world.db.pool())
        .await
        .unwrap();
    assert!(
        stored.starts_with("$argon2id$v=19$m=47104,t=1,p=1$"),
        "{stored}"
    );
}

fn hash_with(memory: u32, passes: u32) -> String {
    use argon2::{Argon2, Params, PasswordHasher, password_hash::phc::PasswordHash};
    let params = Params::new(memory, passes, 1, None).unwrap();
    let hasher = Argon2::from(params);
    let hash: PasswordHash = hasher.hash_password(PASSWORD.as_bytes()).unwrap();
    hash.to_string()
}

#[tokio::test]
async fn sec_06_a_key_acts_as_its_owner_within_its_scopes() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, id) = world.key(&admin, &[Permission::TasksRead]).await;
    let principal = world.keys.find_by_hash(key.hash()).await.unwrap();
    assert_eq!(
        (&principal.subject, &principal.tenant),
        (&admin.subject, &admin.tenant)
    );
    for permission in Permission::ALL {
        assert_eq!(
            principal.may(permission),
            permission == Permission::TasksRead
        );
    }

    let listed = world.keys.list(&admin).await.unwrap();
    assert_eq!(listed.len(), 1);
    let row = &listed[0];
    assert_eq!(
        (row.id, row.name.as_str(), row.hint.as_str()),
        (id, "laptop", key.hint())
    );
    assert_eq!(row.scopes, ["tasks:read"]);
    assert_eq!(row.expires_at - row.created_at, chrono::TimeDelta::days(90));
    assert!(row.last_used_at.is_some(), "its use is noted");
    let other = Principal {
        tenant: "other".into(),
        ..admin
    };
    assert_eq!(world.keys.list(&other).await.unwrap(), []);
}

#[tokio::test]
async fn sec_06_no_row_holds_the_key_itself() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    let dump: Vec<String> = sqlx::query_scalar("select k::text from api_keys k")
        .fetch_all(world.db.pool())
        .await
        .unwrap();
    assert_eq!(dump.len(), 1);
    assert!(dump[0].contains(key.hint()));
    assert!(!dump[0].contains(&key.expose()[key.hint().len()..]));
}

#[tokio::test]
async fn sec_06_a_key_is_never_allowed_more_than_its_owner() {
    let world = World::new().await;
    let admin = world.admin().await;
    let narrowed = Principal {
        scopes: Some([Permission::KeysManage, Permission::TasksRead].into()),
        ..admin.clone()
    };
    let viewer = Principal {
        roles: vec![Role::Viewer],
        ..admin.clone()
    };
    for owner in [&narrowed, &viewer] {
        for permission in Permission::ALL {
            let key = ApiKey::generate("test").unwrap();
            let outcome = world.keys.insert(owner, &grant(&[permission]), &key).await;
            assert_eq!(outcome.is_ok(), owner.may(permission), "{permission}");
        }
    }

    // Nor later, when the owner is allowed less.
    let (key, _) = world
        .key(&admin, &[Permission::SystemRead, Permission::TasksRead])
        .await;
    let (replica, following) = world.replica().await;
    assert!(
        replica
            .find_by_hash(key.hash())
            .await
            .unwrap()
            .may(Permission::SystemRead)
    );
    world.change("update accounts set roles = '{user}'").await;
    let begun = Instant::now();
    loop {
        let principal = replica.find_by_hash(key.hash()).await.unwrap();
        assert!(principal.may(Permission::TasksRead));
        if !principal.may(Permission::SystemRead) {
            break;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the change was not heard"
        );
        sleep(Duration::from_millis(20)).await;
    }
    following.abort();
}

#[tokio::test]
async fn sec_06_a_key_needs_a_scope_and_an_end() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = ApiKey::generate("test").unwrap();
    let refused = [
        (BTreeSet::new(), DEFAULT_LIFE),
        (ALL.into(), Duration::ZERO),
        (ALL.into(), LIFE_LIMIT + Duration::from_secs(1)),
        (ALL.into(), Duration::MAX),
    ];
    for (scopes, life) in refused {
        let grant = Grant {
            scopes,
            life,
            ..grant(&[])
        };
        let error = world.keys.insert(&admin, &grant, &key).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{grant:?}");
    }
}

#[tokio::test]
async fn sec_06_a_given_key_is_stored_once_and_a_revoked_one_stays_revoked() {
    let world = World::new().await;
    let admin = world.admin().await;
    let key = ApiKey::generate("test").unwrap();
    assert!(world.keys.ensure(&admin, &grant(&ALL), &key).await.unwrap());
    assert!(!world.keys.ensure(&admin, &grant(&ALL), &key).await.unwrap());
    assert!(world.keys.find_by_hash(key.hash()).await.is_ok());

    let id = world.keys.list(&admin).await.unwrap()[0].id;
    assert!(world.keys.revoke(&admin, id).await.unwrap());
    assert!(!world.keys.ensure(&admin, &grant(&ALL), &key).await.unwrap());
    assert!(is_unknown(&world.keys.find_by_hash(key.hash()).await));
}

#[tokio::test]
async fn sec_04_a_revoked_key_is_soon_refused_by_every_replica() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, id) = world.key(&admin, &ALL).await;
    let (replica, following) = world.replica().await;
    assert!(replica.find_by_hash(key.hash()).await.is_ok());

    let stranger = Principal {
        subject: Uuid::now_v7().to_string(),
        ..admin.clone()
    };
    assert!(
        !world.keys.revoke(&stranger, id).await.unwrap(),
        "it is not theirs"
    );
    assert!(replica.find_by_hash(key.hash()).await.is_ok());

    assert!(world.keys.revoke(&admin, id).await.unwrap());
    assert!(
        is_unknown(&world.keys.find_by_hash(key.hash()).await),
        "at once where it happened"
    );
    assert!(soon_unknown(&replica, &key).await);
    assert!(
        !world.keys.revoke(&admin, id).await.unwrap(),
        "once is enough"
    );
    following.abort();
}

#[tokio::test]
async fn sec_04_changes_are_heard_again_after_the_connection_was_lost() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, id) = world.key(&admin, &ALL).await;
    let (replica, following) = world.replica().await;
    assert!(replica.find_by_hash(key.hash()).await.is_ok());
    // Every connection but the one that asks, the listener's among them.
    world
        .change(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()",
        )
        .await;
    world.keys.revoke(&admin, id).await.unwrap();
    assert!(soon_unknown(&replica, &key).await);
    following.abort();
}

#[tokio::test]
async fn sec_06_an_expired_key_is_refused_even_when_it_is_remembered() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    world
        .change("update api_keys set expires_at = now() + interval '1 second'")
        .await;
    let begun = Instant::now();
    loop {
        match world.keys.find_by_hash(key.hash()).await {
            Err(AuthError::Expired) => break,
            other => assert!(other.is_ok(), "{other:?}"),
        }
        // Nobody follows changes here, so the answer below comes from memory.
        assert!(begun.elapsed() < Duration::from_secs(10));
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn sec_06_the_keys_of_a_disabled_or_deleted_owner_are_refused() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    let (replica, following) = world.replica().await;
    for statement in [
        "update accounts set disabled_at = now()",
        "delete from accounts",
    ] {
        assert!(replica.find_by_hash(key.hash()).await.is_ok());
        world.change(statement).await;
        assert!(soon_unknown(&replica, &key).await, "{statement}");
        world.change("update accounts set disabled_at = null").await;
        let begun = Instant::now();
        while statement.starts_with("update") && replica.find_by_hash(key.hash()).await.is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(10),
                "it is let in again"
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
    following.abort();
}

#[tokio::test]
async fn sec_06_a_wrong_checksum_asks_no_database_and_an_unknown_key_asks_once() {
    let world = World::new().await;
    let authenticator =
        Authenticator::new(Verifier::new(KeySet::fixed([])), Some(world.keys.clone()));
    let show = async |text: &str| {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {text}")).unwrap();
        headers.insert(AUTHORIZATION, value);
        authenticator.authenticate(&headers).await
    };
    let key = ApiKey::generate("test").unwrap();
    let unknown = show(key.expose()).await;
    assert!(matches!(
        unknown,
        Err(AuthError::Invalid(Refusal::KeyUnknown))
    ));
    // From here on every question to the database is an error of its own.
    world.db.close().await;
    let unknown = show(key.expose()).await;
    assert!(
        matches!(unknown, Err(AuthError::Invalid(Refusal::KeyUnknown))),
        "asked again"
    );

    let another = ApiKey::generate("test").unwrap();
    assert!(matches!(
        show(another.expose()).await,
        Err(AuthError::Database(_))
    ));
    let end = another.expose().len() - 1;
    let last = if another.expose().ends_with('0') {
        '1'
    } else {
        '0'
    };
    let slip = format!("{}{last}", &another.expose()[..end]);
    let refused = show(&slip).await;
    assert!(
        matches!(refused, Err(AuthError::Invalid(Refusal::KeyShape))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn db_08_each_login_does_its_part_and_no_other() {
    let superuser = scratch::database().await.unwrap();
    let (_, server) = superuser.split_once('@').unwrap();
    let name = server
        .rsplit('/')
        .next()
        .and_then(|name| name.split('?').next())
        .unwrap();
    let url =
        |role: &str| SecretString::from(format!("postgres://{role}:{PASSWORD_IN_URL}@{server}"));
    let login = |role| Login {
        role,
        password: PASSWORD_IN_URL.into(),
    };
    let logins = [login("backend"), login("ollama_proxy")];
    let owner = login("sutazai_owner");
    provision(&superuser.clone().into(), name, &owner, &logins)
        .await
        .unwrap();
    migrate(&url("sutazai_owner"), SCHEMA, &MIGRATOR)
        .await
        .unwrap();

    let backend = World::at(url("backend")).await;
    verify(&backend.db, &MIGRATOR).await.unwrap();
    let admin = backend.admin().await;
    let (key, _) = backend.key(&admin, &ALL).await;

    let proxy = World::at(url("ollama_proxy")).await;
    verify(&proxy.db, &MIGRATOR).await.unwrap();
    assert!(proxy.keys.find_by_hash(key.hash()).await.is_ok());
    let listed = backend.keys.list(&admin).await.unwrap();
    assert!(listed[0].last_used_at.is_some(), "the door has noted it");

    let another = ApiKey::generate("test").unwrap();
    let refused = proxy.keys.insert(&admin, &grant(&ALL), &another).await;
    assert!(
        matches!(refused, Err(AuthError::Database(_))),
        "{refused:?}"
    );
    for statement in [
        "update api_keys set revoked_at = null",
        "update accounts set roles = '{admin}'",
        "delete from api_keys",
        "create table identity.mine ()",
    ] {
        assert!(
            query(statement).execute(proxy.db.pool()).await.is_err(),
            "{statement}"
        );
    }
}
