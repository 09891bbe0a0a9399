//! What an API key may do.

use super::*;

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
