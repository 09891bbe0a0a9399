//! Accounts and logins.

use super::*;

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
