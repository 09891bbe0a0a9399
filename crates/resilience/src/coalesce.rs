//! Many askers of one thing at the same time, one answer.

use std::{collections::HashMap, fmt, hash::Hash, sync::Arc};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// One look for an answer, shared by all who wait for it.
pub type Flight<T> = Shared<BoxFuture<'static, T>>;

/// What is being looked for now, each by a name; clones share it.
///
/// Whoever waits drives a flight, so nobody is stranded by an asker who goes away; when nobody waits
/// any more, it is dropped. Nothing is kept of a flight that is over: an error is an answer like any other.
pub struct Flights<N, B, T>(Arc<Mutex<InAir<N, B, T>>>);

struct InAir<N, B, T> {
    count: u64,
    by_name: HashMap<N, Seat<B, T>>,
}

struct Seat<B, T> {
    number: u64,
    born: B,
    flight: WeakShared<BoxFuture<'static, T>>,
}

impl<N, B, T> Flights<N, B, T>
where
    N: Clone + Eq + Hash + Send + 'static,
    B: Copy + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// Joins the flight of that name whose beginning `suits`, else begins one at `born`; says whether
    /// it joined.
    pub fn board(
        &self,
        name: N,
        born: B,
        suits: impl Fn(B) -> bool,
        make: impl FnOnce() -> BoxFuture<'static, T>,
    ) -> (Flight<T>, bool) {
        let mut in_air = self.0.lock();
        let seat = in_air.by_name.get(&name).filter(|seat| suits(seat.born));
        if let Some(flight) = seat.and_then(|seat| seat.flight.upgrade()) {
            return (flight, true);
        }
        in_air.count += 1;
        let number = in_air.count;
        let landing = Landing {
            flights: self.clone(),
            name: name.clone(),
            number,
        };
        let looking = make();
        let flight = async move {
            let _landing = landing;
            looking.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            let seat = Seat {
                number,
                born,
                flight: weak,
            };
            in_air.by_name.insert(name, seat);
        }
        (flight, false)
    }
}

impl<N, B, T> Clone for Flights<N, B, T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<N, B, T> Default for Flights<N, B, T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(InAir {
            count: 0,
            by_name: HashMap::new(),
        })))
    }
}

impl<N, B, T> fmt::Debug for Flights<N, B, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_air = self.0.lock().by_name.len();
        f.debug_struct("Flights").field("in_air", &in_air).finish()
    }
}

/// Takes a flight from the list when it is over, finished or not.
struct Landing<N: Eq + Hash, B, T> {
    flights: Flights<N, B, T>,
    name: N,
    number: u64,
}

impl<N: Eq + Hash, B, T> Drop for Landing<N, B, T> {
    fn drop(&mut self) {
        let mut in_air = self.flights.0.lock();
        let is_ours = |seat: &Seat<B, T>| seat.number == self.number;
        if in_air.by_name.get(&self.name).is_some_and(is_ours) {
            in_air.by_name.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures::{future::join_all, poll};
    use tokio::sync::Notify;

    use super::*;

    type Answer = Result<u32, &'static str>;

    /// Counts how often it is asked, and answers after a word.
    #[derive(Clone, Default)]
    struct Origin {
        asked: Arc<AtomicU32>,
        word: Arc<Notify>,
        flights: Flights<&'static str, u32, Answer>,
    }

    impl Origin {
        fn ask(&self, born: u32, answer: Answer) -> (Flight<Answer>, bool) {
            let (asked, word) = (self.asked.clone(), self.word.clone());
            let looking = async move {
                asked.fetch_add(1, Ordering::Relaxed);
                word.notified().await;
                answer
            };
            let suits = |earlier| earlier >= born;
            self.flights.board("one", born, suits, || looking.boxed())
        }

        fn asked(&self) -> u32 {
            self.asked.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn cch_07_all_get_the_answer_of_one_flight_and_its_error_too() {
        let origin = Origin::default();
        for (round, answer) in [(1, Ok(7)), (2, Err("away")), (3, Ok(8))] {
            let askers: Vec<_> = (0..100).map(|_| origin.ask(0, answer)).collect();
            assert_eq!(askers.iter().filter(|(_, joined)| !joined).count(), 1);
            origin.word.notify_one();
            let answers = join_all(askers.into_iter().map(|(flight, _)| flight)).await;
            assert!(answers.iter().all(|got| *got == answer), "{answers:?}");
            assert_eq!(origin.asked(), round);
        }
        assert!(origin.flights.0.lock().by_name.is_empty());
    }

    #[tokio::test]
    async fn cch_07_who_goes_away_strands_nobody_and_the_last_one_ends_the_work() {
        let origin = Origin::default();
        let (mut first, _) = origin.ask(0, Ok(7));
        let (mut second, _) = origin.ask(0, Ok(8));
        assert!(poll!(&mut first).is_pending());
        assert!(poll!(&mut second).is_pending());
        drop(first);
        origin.word.notify_one();
        assert_eq!(second.await, Ok(7));
        assert_eq!(origin.asked(), 1);

        let (mut last, _) = origin.ask(0, Ok(9));
        assert!(poll!(&mut last).is_pending());
        drop(last);
        assert!(origin.flights.0.lock().by_name.is_empty());
    }

    #[tokio::test]
    async fn a_flight_that_began_too_early_is_not_joined() {
        let origin = Origin::default();
        let (mut early, _) = origin.ask(1, Ok(1));
        assert!(poll!(&mut early).is_pending());
        let (mut late, joined) = origin.ask(2, Ok(2));
        assert!(!joined);
        assert!(poll!(&mut late).is_pending());
        origin.word.notify_one();
        assert_eq!(early.await, Ok(1));
        // The landing of the first leaves the second in its place.
        let (joining, joined) = origin.ask(2, Ok(3));
        assert!(joined);
        origin.word.notify_one();
        assert_eq!((late.await, joining.await), (Ok(2), Ok(2)));
    }
}
