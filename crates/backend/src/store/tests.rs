use sutazai_persistence::{migrate::migrate, postgres::Settings};
use sutazai_resilience::Breakers;

use super::*;
use crate::{MIGRATOR, SCHEMA, retention::Retention};

/// A store on an empty database of a real server.
async fn store() -> Conversations {
    let url = sutazai_servers::scratch::database().await.unwrap().into();
    migrate(&url, SCHEMA, &MIGRATOR).await.unwrap();
    let settings = Settings {
        pool_min: 1,
        pool_max: 4,
        ..Settings::new(url, SCHEMA, "test")
    };
    Conversations::new(
        Database::connect(&settings, &Breakers::new())
            .await
            .unwrap(),
    )
}

fn owner(subject: &str) -> Owner {
    Owner {
        tenant: "default".to_owned(),
        subject: subject.to_owned(),
    }
}

fn exchange(question: &str, answer: &str) -> Exchange {
    Exchange {
        question: question.to_owned(),
        answer: answer.to_owned(),
        model: "tinyllama:latest".to_owned(),
        finish_reason: "stop".to_owned(),
        prompt_tokens: 3,
        completion_tokens: 5,
        asked_at: "2026-01-31T12:00:00Z".parse().unwrap(),
    }
}

async fn conversation(store: &Conversations, owner: &Owner, turns: usize) -> ConversationId {
    let id = ConversationId::new();
    for number in 1..=turns {
        let place = if number == 1 {
            Place::Beginning(id)
        } else {
            Place::Continuing(id)
        };
        let exchange = exchange(&format!("q{number}"), &format!("a{number}"));
        assert!(store.append(owner, place, &exchange).await.unwrap());
    }
    id
}

async fn questions(
    store: &Conversations,
    owner: &Owner,
    id: ConversationId,
    limits: (u16, u32),
) -> Vec<String> {
    let limits = ContextLimits {
        turns: limits.0,
        bytes: limits.1,
    };
    let turns = store.context(owner, id, limits).await.unwrap().unwrap();
    turns.into_iter().map(|turn| turn.question).collect()
}

#[tokio::test]
async fn api_08_a_turn_is_stored_whole_and_in_order() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 3).await;
    let (found, turns) = store.get(&alice, id, None, 10).await.unwrap().unwrap();
    assert_eq!((found.title.as_str(), found.turns), ("q1", 3));
    let numbers: Vec<_> = turns.iter().map(|turn| turn.number).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert_eq!(turns[2].exchange, exchange("q1", "a1"));
    let (_, earlier) = store.get(&alice, id, Some(3), 1).await.unwrap().unwrap();
    assert_eq!(
        earlier.iter().map(|turn| turn.number).collect::<Vec<_>>(),
        [2]
    );
}

#[tokio::test]
async fn the_context_is_bounded_by_turns_and_by_bytes() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 5).await;
    assert_eq!(
        questions(&store, &alice, id, (20, 1000)).await,
        ["q1", "q2", "q3", "q4", "q5"]
    );
    assert_eq!(questions(&store, &alice, id, (2, 1000)).await, ["q4", "q5"]);
    // Each turn has four bytes.
    assert_eq!(questions(&store, &alice, id, (20, 8)).await, ["q4", "q5"]);
    assert_eq!(questions(&store, &alice, id, (20, 11)).await, ["q4", "q5"]);
    assert!(questions(&store, &alice, id, (20, 3)).await.is_empty());
}

#[tokio::test]
async fn an_older_turn_that_fits_does_not_jump_over_one_that_does_not() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 1).await;
    let long = exchange(&"q".repeat(100), "a");
    store
        .append(&alice, Place::Continuing(id), &long)
        .await
        .unwrap();
    store
        .append(&alice, Place::Continuing(id), &exchange("q3", "a3"))
        .await
        .unwrap();
    assert_eq!(questions(&store, &alice, id, (20, 50)).await, ["q3"]);
}

#[tokio::test]
async fn sec_10_nobody_reaches_the_conversation_of_another() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 1).await;
    let other_tenant = Owner {
        tenant: "other".to_owned(),
        ..alice.clone()
    };
    for stranger in [owner("bob"), other_tenant] {
        assert_eq!(
            store
                .context(&stranger, id, ContextLimits::default())
                .await
                .unwrap(),
            None
        );
        assert!(store.get(&stranger, id, None, 10).await.unwrap().is_none());
        assert!(store.list(&stranger, None, 10).await.unwrap().is_empty());
        assert!(
            !store
                .append(&stranger, Place::Continuing(id), &exchange("q", "a"))
                .await
                .unwrap()
        );
        assert!(!store.delete(&stranger, id).await.unwrap());
    }
    let (found, _) = store.get(&alice, id, None, 10).await.unwrap().unwrap();
    assert_eq!(found.turns, 1);
}

#[tokio::test]
async fn a_turn_of_a_deleted_conversation_is_not_stored() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 2).await;
    assert!(store.delete(&alice, id).await.unwrap());
    assert!(!store.delete(&alice, id).await.unwrap());
    assert!(
        !store
            .append(&alice, Place::Continuing(id), &exchange("q", "a"))
            .await
            .unwrap()
    );
    assert_eq!(
        store
            .context(&alice, id, ContextLimits::default())
            .await
            .unwrap(),
        None
    );
}

#[tokio::test]
async fn turns_that_end_at_once_get_numbers_one_after_the_other() {
    let (store, alice) = (store().await, owner("alice"));
    let id = conversation(&store, &alice, 1).await;
    let turn = exchange("q", "a");
    let appends = (0..8).map(|_| store.append(&alice, Place::Continuing(id), &turn));
    for stored in futures::future::join_all(appends).await {
        assert!(stored.unwrap());
    }
    let (_, turns) = store.get(&alice, id, None, 100).await.unwrap().unwrap();
    let numbers: Vec<_> = turns.iter().rev().map(|turn| turn.number).collect();
    assert_eq!(numbers, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn beh_04_pages_neither_skip_nor_double_while_rows_are_inserted() {
    let (store, alice) = (store().await, owner("alice"));
    let mut expected = Vec::new();
    for _ in 0..7 {
        expected.insert(0, conversation(&store, &alice, 1).await);
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let page = store.list(&alice, before, 3).await.unwrap();
        // Newcomers between two pages belong before the first one.
        conversation(&store, &alice, 1).await;
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        seen.extend(page.into_iter().map(|conversation| conversation.id));
    }
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_character_that_postgres_cannot_store_is_replaced() {
    let (store, alice) = (store().await, owner("alice"));
    let id = ConversationId::new();
    let turn = exchange("a\0b", "c\0d");
    assert!(
        store
            .append(&alice, Place::Beginning(id), &turn)
            .await
            .unwrap()
    );
    let (found, turns) = store.get(&alice, id, None, 1).await.unwrap().unwrap();
    assert_eq!(found.title, "a\u{fffd}b");
    assert_eq!(turns[0].exchange.answer, "c\u{fffd}d");
}

#[tokio::test]
async fn retention_removes_what_is_past_its_life_and_nothing_else() {
    let (store, alice) = (store().await, owner("alice"));
    let (aged, fresh) = (
        conversation(&store, &alice, 2).await,
        conversation(&store, &alice, 1).await,
    );
    sqlx::query("update conversations set updated_at = now() - interval '31 days' where id = $1")
        .bind(aged.as_uuid())
        .execute(store.db.pool())
        .await
        .unwrap();
    let retention = |days| Retention::new(store.clone(), days);
    assert_eq!(retention(32).step().await.unwrap(), 0);
    assert_eq!(retention(30).step().await.unwrap(), 1);
    assert_eq!(retention(30).step().await.unwrap(), 0);
    assert!(store.get(&alice, aged, None, 1).await.unwrap().is_none());
    assert!(store.get(&alice, fresh, None, 1).await.unwrap().is_some());
}

#[tokio::test]
async fn db_07_the_queries_of_a_large_table_use_their_index() {
    let store = store().await;
    let fill = "insert into conversations (id, tenant_id, subject, title, turns)
                select gen_random_uuid(), 'default', 's' || n % 500, 't', 0 from generate_series(1, 20000) n";
    sqlx::query(fill).execute(store.db.pool()).await.unwrap();
    sqlx::query("analyze conversations")
        .execute(store.db.pool())
        .await
        .unwrap();
    for statement in [
        "explain select id from conversations where tenant_id = 'default' and subject = 's7' order by id desc limit 20",
        "explain select id from conversations where updated_at < now() - interval '1 day' order by updated_at limit 500",
    ] {
        let plan: Vec<String> = sqlx::query_scalar(statement)
            .fetch_all(store.db.pool())
            .await
            .unwrap();
        let plan = plan.join("\n");
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{plan}"
        );
    }
}
