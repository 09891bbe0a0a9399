//! What one watch believes: pure rules about indexes and empty answers.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// The index of a blocking query and when it starts afresh.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Index(Option<u64>);

impl Index {
    /// Returns what the next query waits beyond; none for an answer at once.
    pub(super) fn beyond(self) -> Option<u64> {
        self.0
    }

    /// Takes the index of an answer.
    ///
    /// One that went backwards belongs to another state (a restored or restarted server), and 0 is
    /// none: the next query has to be answered at once, or it may wait for ever.
    pub(super) fn answered(&mut self, index: u64) {
        let backwards = self.0.is_some_and(|before| index < before);
        self.0 = Some(index).filter(|index| !backwards && *index > 0);
    }

    /// After a failure the next answer has to come at once too: it shows that Consul is back.
    pub(super) fn failed(&mut self) {
        self.0 = None;
    }
}

/// What to do about an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict<T> {
    /// The list did not change.
    Same,
    /// Tell the watchers.
    Tell(Arc<[T]>),
    /// All instances are gone, says Consul: ask them whether they still answer.
    Doubt,
}

/// The last list, and since when Consul says that nobody is left.
#[derive(Debug)]
pub(super) struct Catalogue<T> {
    list: Arc<[T]>,
    empty_since: Option<Instant>,
    doubt_for: Duration,
}

impl<T: PartialEq> Catalogue<T> {
    pub(super) fn new(doubt_for: Duration) -> Self {
        Self {
            list: Arc::default(),
            empty_since: None,
            doubt_for,
        }
    }

    pub(super) fn list(&self) -> &Arc<[T]> {
        &self.list
    }

    pub(super) fn in_doubt(&self) -> bool {
        self.empty_since.is_some()
    }

    /// Takes the list of an answer, in a fixed order.
    pub(super) fn answered(&mut self, list: Vec<T>, now: Instant) -> Verdict<T> {
        if list.is_empty() && !self.list.is_empty() {
            let since = *self.empty_since.get_or_insert(now);
            if now.duration_since(since) < self.doubt_for {
                return Verdict::Doubt;
            }
            return self.believe_empty();
        }
        self.empty_since = None;
        if *self.list == *list {
            return Verdict::Same;
        }
        self.list = list.into();
        Verdict::Tell(Arc::clone(&self.list))
    }

    /// Settles a doubt: an instance that answers is kept until the time for doubts is over.
    pub(super) fn asked(&mut self, somebody_answers: bool, now: Instant) -> Verdict<T> {
        let Some(since) = self.empty_since else {
            return Verdict::Same;
        };
        if somebody_answers && now.duration_since(since) < self.doubt_for {
            return Verdict::Doubt;
        }
        self.believe_empty()
    }

    fn believe_empty(&mut self) -> Verdict<T> {
        self.empty_since = None;
        self.list = Arc::default();
        Verdict::Tell(Arc::clone(&self.list))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOUBT: Duration = Duration::from_secs(30);

    fn beyond(indexes: &[u64]) -> Option<u64> {
        let mut index = Index::default();
        for next in indexes {
            index.answered(*next);
        }
        index.beyond()
    }

    #[test]
    fn msh_02_an_index_that_goes_backwards_or_is_0_starts_afresh() {
        assert_eq!(beyond(&[]), None);
        assert_eq!(beyond(&[7]), Some(7));
        assert_eq!(beyond(&[7, 7]), Some(7));
        assert_eq!(beyond(&[7, 3]), None);
        assert_eq!(beyond(&[7, 3, 3]), Some(3));
        assert_eq!(beyond(&[0]), None);
        assert_eq!(beyond(&[7, 0]), None);
    }

    #[test]
    fn only_a_difference_is_told() {
        let now = Instant::now();
        let mut catalogue = Catalogue::new(DOUBT);
        assert_eq!(catalogue.answered(vec![], now), Verdict::Same);
        assert_eq!(catalogue.answered(vec![1], now), Verdict::Tell([1].into()));
        assert_eq!(catalogue.answered(vec![1], now), Verdict::Same);
    }

    #[test]
    fn msh_03_an_empty_answer_is_doubted_while_somebody_answers_for_30_s() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let full = || {
            let mut catalogue = Catalogue::new(DOUBT);
            catalogue.answered(vec![1], start);
            assert_eq!(catalogue.answered(vec![], start), Verdict::Doubt);
            catalogue
        };
        // Somebody answers, until the time is over.
        let mut catalogue = full();
        assert_eq!(catalogue.asked(true, at(29)), Verdict::Doubt);
        assert_eq!(catalogue.list()[..], [1]);
        assert_eq!(catalogue.asked(true, at(30)), Verdict::Tell([].into()));
        // Nobody answers.
        let mut catalogue = full();
        assert_eq!(catalogue.asked(false, at(1)), Verdict::Tell([].into()));
        // A further empty answer does not begin the time anew.
        let mut catalogue = full();
        assert_eq!(catalogue.answered(vec![], at(20)), Verdict::Doubt);
        assert_eq!(catalogue.answered(vec![], at(30)), Verdict::Tell([].into()));
        // They are back.
        let mut catalogue = full();
        assert_eq!(catalogue.answered(vec![1], at(1)), Verdict::Same);
        assert!(!catalogue.in_doubt());
    }
}
