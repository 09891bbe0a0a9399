//! Many requests at once with keys that nobody remembers.

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
    poll,
};
use sqlx::{Postgres, Transaction};
use sutazai_persistence::postgres::PoolStats;

use super::*;

const CROWD: usize = 2_000;

impl World {
    /// Counts from now on how often a stored key is read. A use that is noted would read it, too.
    async fn count_lookups(&self) {
        for statement in [
            "update api_keys set last_used_at = now()",
            "create sequence lookups",
            "alter table api_keys rename to all_api_keys",
            "create view api_keys as select * from all_api_keys where nextval('lookups') > 0",
        ] {
            self.change(statement).await;
        }
    }

    /// Lets no question about keys be answered until the lock is gone.
    async fn lock(&self) -> Transaction<'static, Postgres> {
        let mut lock = self.db.pool().begin().await.unwrap();
        query("lock table api_keys in access exclusive mode")
            .execute(&mut *lock)
            .await
            .unwrap();
        lock
    }

    async fn lookups(&self) -> i64 {
        let counted = "select case when is_called then last_value else 0 end from lookups";
        let counted = sqlx::query_scalar(counted);
        counted.fetch_one(self.db.pool()).await.unwrap()
    }
}

fn bearer(key: &ApiKey) -> HeaderMap {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.expose())).unwrap();
    HeaderMap::from_iter([(AUTHORIZATION, value)])
}

/// Lets all of them ask.
async fn waiting<'a, T>(
    askers: impl Iterator<Item = impl Future<Output = T> + Send + 'a>,
) -> Vec<BoxFuture<'a, T>> {
    let mut waiting: Vec<_> = askers.map(FutureExt::boxed).collect();
    for asker in &mut waiting {
        assert!(poll!(asker).is_pending());
    }
    waiting
}

#[tokio::test]
async fn cch_07_a_crowd_with_one_cold_key_asks_the_database_once() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    world.count_lookups().await;
    let door = Authenticator::new(Verifier::new(KeySet::fixed([])), Some(world.keys.clone()));
    let headers = bearer(&key);
    let crowd = (0..CROWD).map(|_| door.authenticate(&headers));
    let lock = world.lock().await;
    let crowd = waiting(crowd).await;
    lock.rollback().await.unwrap();
    for let_in in join_all(crowd).await {
        assert_eq!(let_in.unwrap().unwrap().subject, admin.subject);
    }
    assert_eq!(world.lookups().await, 1);
}

#[tokio::test]
async fn cch_07_an_asker_that_goes_away_strands_nobody() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    world.count_lookups().await;
    let lock = world.lock().await;
    let mut first = world.keys.find_by_hash(key.hash()).boxed();
    assert!(poll!(&mut first).is_pending());
    let others = (0..CROWD).map(|_| world.keys.find_by_hash(key.hash()));
    let others = waiting(others).await;
    drop(first);
    lock.rollback().await.unwrap();
    for found in join_all(others).await {
        assert_eq!(found.unwrap().subject, admin.subject);
    }
    assert_eq!(world.lookups().await, 1);
}

#[tokio::test]
async fn cch_07_an_error_reaches_all_who_asked_and_nobody_later() {
    let world = World::new().await;
    let admin = world.admin().await;
    let (key, _) = world.key(&admin, &ALL).await;
    let mut lock = world.lock().await;
    let crowd = (0..100).map(|_| world.keys.find_by_hash(key.hash()));
    let crowd = waiting(crowd).await;
    query("alter table api_keys rename to lost_api_keys")
        .execute(&mut *lock)
        .await
        .unwrap();
    lock.commit().await.unwrap();
    let mut errors = Vec::new();
    for refused in join_all(crowd).await {
        match refused {
            Err(AuthError::Database(error)) => errors.push(error),
            other => panic!("{other:?}"),
        }
    }
    assert!(
        errors
            .iter()
            .all(|error| std::sync::Arc::ptr_eq(error, &errors[0])),
        "one question, one error"
    );
    world
        .change("alter table lost_api_keys rename to api_keys")
        .await;
    assert!(world.keys.find_by_hash(key.hash()).await.is_ok());
}

#[tokio::test]
async fn cch_07_a_crowd_of_unknown_keys_leaves_half_of_the_pool_to_others() {
    let url = SecretString::from(scratch::database().await.unwrap());
    migrate(&url, SCHEMA, &MIGRATOR).await.unwrap();
    let patience = Duration::from_secs(60);
    let world = World::with(Settings {
        acquire_timeout: patience,
        statement_timeout: patience,
        ..Settings::new(url, SCHEMA, "auth-tests")
    })
    .await;
    world.admin().await;
    let lock = world.lock().await;
    let strangers: Vec<_> = (0..50)
        .map(|_| ApiKey::generate("test").unwrap().hash())
        .collect();
    let asked = strangers.iter().map(|hash| world.keys.find_by_hash(*hash));
    let mut asked = join_all(waiting(asked).await);
    // Two of the four connections; the lock's own is the third.
    let PoolStats { waiters, .. } = world.db.pool_stats();
    assert_eq!(waiters, 48);
    let other = tokio::select! {
        other = world.accounts.find_by_name("nobody") => other,
        _ = &mut asked => panic!("the table is locked"),
    };
    assert!(other.unwrap().is_none());
    lock.rollback().await.unwrap();
    assert!(asked.await.iter().all(is_unknown));
}
