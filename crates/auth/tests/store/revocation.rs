//! When a key stops to work.

use super::*;

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
