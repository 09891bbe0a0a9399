//! The desk before a ledger of numbers, in a time that passes only when everybody waits.

use std::sync::Mutex;

use tokio::{task::JoinHandle, time::Instant};

use super::*;

const BUSY: Duration = Duration::from_millis(10);
/// Is refused, and so is everything in its batch.
const BAD: u32 = 666;
/// Ends the task that stores it.
const WORSE: u32 = 667;
/// Takes longer than anybody has patience.
const LONG: u32 = 668;

/// Answers each number with its double, [`BUSY`] later; keeps what was in which batch.
#[derive(Clone, Default)]
struct Doubles(Arc<Mutex<Vec<Vec<u32>>>>);

impl Ledger for Doubles {
    type Entry = u32;
    type Answer = u32;

    const LANES: usize = 2;
    const PATIENCE: Duration = Duration::from_secs(2);

    async fn enter(&self, numbers: &[u32]) -> Result<Vec<u32>, DatabaseError> {
        self.0.lock().unwrap().push(numbers.to_vec());
        let busy = if numbers.contains(&LONG) {
            Self::PATIENCE * 2
        } else {
            BUSY
        };
        tokio::time::sleep(busy).await;
        assert!(!numbers.contains(&WORSE), "told to");
        if numbers.contains(&BAD) {
            return Err(sqlx::Error::RowNotFound.into());
        }
        Ok(numbers.iter().map(|number| number * 2).collect())
    }
}

fn open() -> (Doubles, Desk<Doubles>) {
    let ledger = Doubles::default();
    (ledger.clone(), Desk::open(ledger))
}

impl Doubles {
    fn batches(&self) -> Vec<Vec<u32>> {
        self.0.lock().unwrap().clone()
    }
}

fn send(desk: &Desk<Doubles>, number: u32) -> JoinHandle<Result<u32, Unstored>> {
    let desk = desk.clone();
    tokio::spawn(async move { desk.enter(number).await })
}

/// Fills both lanes, then sends these.
async fn behind(
    desk: &Desk<Doubles>,
    lanes: [u32; 2],
    numbers: impl IntoIterator<Item = u32>,
) -> Vec<JoinHandle<Result<u32, Unstored>>> {
    let mut sent = Vec::new();
    for lane in lanes {
        sent.push(send(desk, lane));
        tokio::time::sleep(BUSY / 10).await;
    }
    sent.extend(numbers.into_iter().map(|number| send(desk, number)));
    tokio::time::sleep(BUSY / 10).await;
    sent
}

#[tokio::test(start_paused = true)]
async fn who_comes_alone_waits_for_nobody() {
    let (ledger, desk) = open();
    let begun = Instant::now();
    assert_eq!(desk.enter(7).await.unwrap(), 14);
    assert!(begun.elapsed() < BUSY * 2);
    assert_eq!(ledger.batches(), [[7]]);
}

#[tokio::test(start_paused = true)]
async fn who_comes_while_others_are_stored_is_stored_together_and_gets_his_own_answer() {
    let (ledger, desk) = open();
    let begun = Instant::now();
    let sent = behind(&desk, [1, 2], 3..100).await;
    for (number, answer) in (1..).zip(sent) {
        assert_eq!(answer.await.unwrap().unwrap(), number * 2);
    }
    let batches = ledger.batches();
    assert_eq!(batches.len(), 3, "{batches:?}");
    assert!(begun.elapsed() < BUSY * 3);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_refused_fails_alone() {
    let (_, desk) = open();
    let sent = behind(&desk, [1, 2], [3, 4, BAD, 6, 7]).await;
    for (number, answer) in [1, 2, 3, 4, BAD, 6, 7].into_iter().zip(sent) {
        let answer = answer.await.unwrap();
        if number == BAD {
            assert!(matches!(answer, Err(Unstored::Database(_))), "{answer:?}");
        } else {
            assert_eq!(answer.unwrap(), number * 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_before_the_batch_begins_leaves_nothing_and_takes_nobody_along() {
    let (ledger, desk) = open();
    let sent = behind(&desk, [1, 2], [3, 4, 5]).await;
    sent[0].abort();
    sent[3].abort();
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.ok().map(Result::unwrap));
    }
    assert_eq!(answers, [None, Some(4), Some(6), None, Some(10)]);
    assert_eq!(ledger.batches(), [vec![1], vec![2], vec![3, 5]]);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_he_may_for_a_begin_but_all_do_for_the_end() {
    let (ledger, desk) = open();
    let begun = Instant::now();
    let mut sent = behind(&desk, [LONG, LONG], [5]).await;
    let late = sent.pop().unwrap().await.unwrap();
    match late {
        Err(Unstored::Database(error)) => {
            assert!(matches!(*error, DatabaseError::PoolTimeout), "{error:?}");
        }
        other => panic!("{other:?}"),
    }
    assert!(begun.elapsed() < Doubles::PATIENCE + BUSY);
    for answer in sent {
        assert_eq!(answer.await.unwrap().unwrap(), LONG * 2);
    }
    assert_eq!(desk.enter(6).await.unwrap(), 12);
    assert_eq!(ledger.batches(), [[LONG], [LONG], [6]], "5 gave up");
}

#[tokio::test(start_paused = true)]
async fn more_than_may_wait_are_told_so_in_time() {
    let (ledger, desk) = open();
    let sent = behind(&desk, [LONG, LONG], 0..1000).await;
    let mut refused = 0;
    for answer in sent {
        refused += usize::from(answer.await.unwrap().is_err());
    }
    assert_eq!(refused, 1000);
    assert_eq!(ledger.batches().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_breaks_off_ends_no_other() {
    let (_, desk) = open();
    let sent = behind(&desk, [WORSE, 2], [3]).await;
    let mut answers = Vec::new();
    for answer in sent {
        answers.push(answer.await.unwrap().ok());
    }
    assert_eq!(answers, [None, Some(4), Some(6)]);
    assert_eq!(desk.enter(4).await.unwrap(), 8);
}
