//! The pool against a real server: session settings, replaced connections, bounded waits, and what
//! the breaker counts.

#![expect(clippy::unwrap_used, reason = "the setup of a test may panic")]

use std::{future::Future, sync::Arc, time::Duration};

use secrecy::{ExposeSecret, SecretString};
use sqlx::{Connection, PgConnection};
use sutazai_persistence::{
    Database, DatabaseError,
    postgres::{PoolStats, Settings},
};
use sutazai_proto::{Coded, ErrorCode};
use sutazai_resilience::{
    Breakers,
    breaker::{STATE_METRIC, State, TRANSITIONS_METRIC},
};
use sutazai_telemetry::{metrics, names};
use tokio::sync::Notify;

#[path = "postgres/wire.rs"]
mod wire;

use wire::Wire;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Settings as small as development uses them, for a database of the test's own.
async fn settings() -> Settings {
    let url = sutazai_servers::scratch::database().await.unwrap();
    Settings {
        pool_min: 1,
        pool_max: 2,
        acquire_timeout: Duration::from_millis(500),
        ..Settings::new(SecretString::from(url), "public", "pool-test")
    }
}

async fn connect(settings: &Settings) -> (Database, Breakers) {
    let breakers = Breakers::new();
    let db = Database::connect(settings, &breakers).await.unwrap();
    (db, breakers)
}

fn state(breakers: &Breakers) -> State {
    breakers.list().first().unwrap().state
}

/// Asks again until the answer is yes. A server that never gets there fails the test.
async fn until<F: Future<Output = bool>>(what: &str, ask: impl Fn() -> F) {
    let wait = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, wait).await.is_ok(),
        "never: {what}"
    );
}

async fn select_one(db: &Database) -> Result<i32, DatabaseError> {
    let one = sqlx::query_scalar("select 1").fetch_one(db.pool());
    db.run("test.one", one).await
}

/// Keeps every connection of the pool busy until told to let go.
async fn occupy(db: &Database) -> Vec<(tokio::task::JoinHandle<()>, Arc<Notify>)> {
    let mut holders = Vec::new();
    for _ in 0..db.pool_stats().max {
        let (db, release) = (db.clone(), Arc::new(Notify::new()));
        let released = release.clone();
        let task = tokio::spawn(async move {
            let hold = async {
                let mut connection = db.pool().acquire().await?;
                released.notified().await;
                connection.ping().await
            };
            db.run("test.hold", hold).await.unwrap();
        });
        holders.push((task, release));
    }
    until("all connections are busy", || async {
        db.pool_stats().in_use == db.pool_stats().max
    })
    .await;
    holders
}

async fn release(holders: Vec<(tokio::task::JoinHandle<()>, Arc<Notify>)>) {
    for (task, release) in holders {
        release.notify_one();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn db_02_sessions_have_the_agreed_settings() {
    let (db, _) = connect(&settings().await).await;
    for (name, expected) in [
        ("jit", "off"),
        ("random_page_cost", "1.1"),
        ("statement_timeout", "10000"),
        ("idle_in_transaction_session_timeout", "30000"),
        ("search_path", "public"),
        ("application_name", "pool-test"),
    ] {
        let ask = sqlx::query_scalar("select setting from pg_settings where name = $1")
            .bind(name)
            .fetch_one(db.pool());
        let setting: String = db.run("test.setting", ask).await.unwrap();
        assert_eq!(setting, expected, "{name}");
    }
}

#[tokio::test]
async fn db_02_a_statement_that_takes_too_long_is_cancelled_and_blames_nobody() {
    let settings = Settings {
        statement_timeout: Duration::from_millis(100),
        ..settings().await
    };
    let (db, breakers) = connect(&settings).await;
    for _ in 0..6 {
        let sleep = sqlx::query("select pg_sleep(60)").execute(db.pool());
        let error = db.run("test.sleep", sleep).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Timeout), "{error:?}");
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    }
    assert_eq!(state(&breakers), State::Closed);
}

#[tokio::test]
async fn db_03_terminated_backends_are_replaced() {
    let settings = settings().await;
    let (db, _) = connect(&settings).await;
    release(occupy(&db).await).await;
    let mut admin = PgConnection::connect(settings.url.expose_secret())
        .await
        .unwrap();
    let mine =
        "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let kill = sqlx::AssertSqlSafe(format!("select pid, pg_terminate_backend(pid) {mine}"));
    let killed: Vec<(i32, bool)> = sqlx::query_as(kill).fetch_all(&mut admin).await.unwrap();
    assert_eq!(killed.len(), 2);
    let pids: Vec<i32> = killed.into_iter().map(|(pid, _)| pid).collect();
    let gone = async {
        let left = "select exists (select from pg_stat_activity where pid = any($1))";
        while sqlx::query_scalar(left)
            .bind(&pids)
            .fetch_one(&mut admin)
            .await
            .unwrap()
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(
        tokio::time::timeout(PATIENCE, gone).await.is_ok(),
        "backends do not end"
    );
    for _ in 0..10 {
        let ask = sqlx::query_scalar("select pg_backend_pid()").fetch_one(db.pool());
        let pid: i32 = db.run("test.pid", ask).await.unwrap();
        assert!(!pids.contains(&pid));
    }
}

#[tokio::test]
async fn db_04_a_full_pool_is_reported_after_a_bounded_wait_and_opens_no_breaker() {
    let (db, breakers) = connect(&settings().await).await;
    let holders = occupy(&db).await;
    for _ in 0..6 {
        let error = select_one(&db).await.unwrap_err();
        assert!(matches!(error, DatabaseError::PoolTimeout), "{error:?}");
        assert_eq!(error.code(), ErrorCode::Unavailable);
        assert_eq!(error.code().policy().http.as_u16(), 503);
    }
    assert_eq!(state(&breakers), State::Closed);
    release(holders).await;
    assert_eq!(select_one(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn db_05_a_hundred_callers_share_one_connection() {
    let settings = Settings {
        pool_max: 1,
        acquire_timeout: Duration::from_secs(30),
        ..settings().await
    };
    let (db, _) = connect(&settings).await;
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { select_one(&db).await })
        })
        .collect();
    for caller in callers {
        assert_eq!(caller.await.unwrap().unwrap(), 1);
    }
    assert_eq!(db.pool_stats().size, 1);
}

#[tokio::test]
async fn db_11_the_pool_tells_its_numbers() {
    let settings = Settings {
        acquire_timeout: Duration::from_secs(30),
        ..settings().await
    };
    let (db, _) = connect(&settings).await;
    let holders = occupy(&db).await;
    let waiter = tokio::spawn({
        let db = db.clone();
        async move { select_one(&db).await }
    });
    let full = PoolStats {
        size: 2,
        idle: 0,
        in_use: 2,
        max: 2,
        waiters: 1,
    };
    until("one waits", || async { db.pool_stats() == full }).await;
    waiter.abort();
    until("a waiter that went away is not counted", || async {
        db.pool_stats().waiters == 0
    })
    .await;
    release(holders).await;
}

#[tokio::test]
async fn db_12_work_is_counted() {
    let quiet = sutazai_telemetry::Config {
        filter: "off".to_owned(),
        ..sutazai_telemetry::Config::default()
    };
    let _guard = sutazai_telemetry::init(&quiet).unwrap();
    let (db, breakers) = connect(&settings().await).await;
    breakers.get("gone").force_open("test");
    breakers.remove("gone");
    select_one(&db).await.unwrap();
    let evidence = db.ping().await.unwrap();
    assert!(evidence.starts_with("PostgreSQL "), "{evidence}");
    let text = metrics::render();
    for line in [
        r#"db_queries_total{query_type="test.one",outcome="ok"}"#,
        r#"db_query_duration_seconds_count{query_type="test.one"}"#,
        r#"db_pool_connections{schema="public",state="max"} 2"#,
        r#"db_pool_waiters{schema="public"}"#,
        r#"db_pool_wait_seconds_count{schema="public"}"#,
        r#"breaker_state{name="postgres:public"} 0"#,
        r#"breaker_transitions_total{name="gone",to="open"} 1"#,
        r#"breaker_state{name="gone"} 0"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert!(metrics::totals()[names::DB_QUERIES_TOTAL] >= 2.0);
}

#[test]
fn the_breakers_metrics_are_in_the_list_of_names() {
    assert_eq!(STATE_METRIC, names::BREAKER_STATE);
    assert_eq!(TRANSITIONS_METRIC, names::BREAKER_TRANSITIONS_TOTAL);
}

#[tokio::test]
async fn cb_03_answers_of_the_server_open_no_breaker() {
    let (db, breakers) = connect(&settings().await).await;
    let create = sqlx::query("create table thing (id int constraint thing_pkey primary key)");
    db.run("test.create", create.execute(db.pool()))
        .await
        .unwrap();
    let insert = || sqlx::query("insert into thing values (1)").execute(db.pool());
    db.run("test.insert", insert()).await.unwrap();
    for _ in 0..6 {
        let error = db.run("test.insert", insert()).await.unwrap_err();
        assert_eq!(error.constraint(), Some("thing_pkey"));
        assert_eq!(error.code(), ErrorCode::Conflict);
        let wrong = sqlx::query("select 1 / 0").execute(db.pool());
        let error = db.run("test.wrong", wrong).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
    }
    assert_eq!(state(&breakers), State::Closed);
}

#[tokio::test]
async fn cb_04_a_server_that_is_gone_opens_the_breaker_and_its_return_closes_it() {
    let direct = settings().await;
    let mut wire = Wire::to(direct.url.expose_secret()).await;
    let settings = Settings {
        url: SecretString::from(wire.url()),
        acquire_timeout: Duration::from_millis(300),
        ..direct
    };
    let (db, breakers) = connect(&settings).await;
    select_one(&db).await.unwrap();

    wire.cut().await;
    for _ in 0..5 {
        let error = select_one(&db).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    }
    let error = select_one(&db).await.unwrap_err();
    assert!(
        matches!(error, DatabaseError::BreakerOpen { .. }),
        "{error:?}"
    );
    assert_eq!(error.code(), ErrorCode::Unavailable);
    assert!(error.details().retry_after.is_some());

    wire.join().await;
    until("the breaker lets a call through", || async {
        select_one(&db).await.is_ok()
    })
    .await;
    assert_eq!(state(&breakers), State::Closed);
}

#[tokio::test]
async fn a_server_that_is_still_starting_is_waited_for() {
    let direct = settings().await;
    let mut wire = Wire::to(direct.url.expose_secret()).await;
    wire.cut().await;
    let settings = Settings {
        url: SecretString::from(wire.url()),
        ..direct
    };
    let opening = tokio::spawn(async move {
        let breakers = Breakers::new();
        Database::connect(&settings, &breakers).await
    });
    wire.join().await;
    let db = opening.await.unwrap().unwrap();
    assert_eq!(select_one(&db).await.unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let direct = settings().await;
    let mut wire = Wire::to(direct.url.expose_secret()).await;
    wire.cut().await;
    let settings = Settings {
        url: SecretString::from(wire.url()),
        connect_within: Duration::from_millis(100),
        ..direct
    };
    let error = Database::connect(&settings, &Breakers::new())
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_login_that_is_refused_is_not_tried_again() {
    let direct = settings().await;
    let (server, _) = direct.url.expose_secret().rsplit_once('/').unwrap();
    let settings = Settings {
        url: SecretString::from(format!("{server}/no_such_database")),
        connect_within: Duration::from_hours(1),
        ..direct
    };
    let error = Database::connect(&settings, &Breakers::new())
        .await
        .unwrap_err();
    assert!(matches!(error, DatabaseError::Query(_)), "{error:?}");
}

#[tokio::test]
async fn a_closed_pool_refuses_work_and_blames_nobody() {
    let (db, breakers) = connect(&settings().await).await;
    db.close().await;
    for _ in 0..6 {
        let error = select_one(&db).await.unwrap_err();
        assert!(matches!(error, DatabaseError::Unavailable(_)), "{error:?}");
    }
    assert_eq!(state(&breakers), State::Closed);
}
