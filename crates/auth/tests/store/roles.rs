//! What each login role may do.

use super::*;

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
