//! Who answers with faults, or can not be connected to, is left out of the choice for a while.
//!
//! A breaker stops calls; this only prefers others. So it may also judge what an instance says in the
//! platform's own words, which trips no breaker.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Faults in a row after which an instance is left out.
const FAULTS: u32 = 5;
/// How long it is left out the first time, and how many times longer at most.
const OUT: Duration = Duration::from_secs(30);
const LONGEST: u32 = 10;
/// After so long without another time, the next one is a first one.
const FORGIVEN: Duration = Duration::from_secs(300);

/// What the answers of one instance were like.
#[derive(Debug, Default)]
pub(super) struct Outlier(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    faults_in_a_row: u32,
    /// For its faults.
    out: Absence,
    /// Because it can not be connected to.
    away: Absence,
}

/// How often an instance was left out, and until when.
#[derive(Debug, Default)]
struct Absence {
    times: u32,
    until: Option<Instant>,
}

impl Outlier {
    /// Tells whether the instance is left out now for its faults.
    pub(super) fn is_out(&self) -> bool {
        self.0.lock().out.is_now()
    }

    /// Tells whether the instance could not be connected to a while ago.
    pub(super) fn is_away(&self) -> bool {
        self.0.lock().away.is_now()
    }

    /// Notes a good answer.
    pub(super) fn good(&self) {
        self.0.lock().faults_in_a_row = 0;
    }

    /// Notes a fault; true when there were enough in a row to leave the instance out.
    pub(super) fn fault(&self) -> bool {
        let mut record = self.0.lock();
        record.faults_in_a_row = record.faults_in_a_row.saturating_add(1);
        record.faults_in_a_row >= FAULTS
    }

    /// Leaves the instance out, longer each time, and returns for how long.
    pub(super) fn eject(&self) -> Duration {
        let mut record = self.0.lock();
        record.faults_in_a_row = 0;
        record.out.begin()
    }

    /// Notes that the instance can not be connected to, and returns for how long others go before it.
    pub(super) fn away(&self) -> Duration {
        self.0.lock().away.begin()
    }

    /// Notes that there is a connection.
    pub(super) fn back(&self) {
        self.0.lock().away.end();
    }
}

impl Absence {
    fn is_now(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() < until)
    }

    fn begin(&mut self) -> Duration {
        let now = Instant::now();
        if self.until.is_none_or(|until| now > until + FORGIVEN) {
            self.times = 0;
        }
        self.times = (self.times + 1).min(LONGEST);
        let time = OUT * self.times;
        self.until = Some(now + time);
        time
    }

    fn end(&mut self) {
        self.until = self.until.map(|until| until.min(Instant::now()));
    }
}

/// Tells whether one more of `all` may be left out when `out` are already: at most half, never the last.
pub(super) fn may_eject(all: usize, out: usize) -> bool {
    (out + 1) * 2 <= all
}

/// Tells whether more of `all` are left out than may be, because others went away: then none is.
pub(super) fn is_panic(all: usize, out: usize) -> bool {
    out * 2 > all
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[test]
    fn msh_05_at_most_half_are_left_out_and_never_the_last() {
        let most = |all: usize| (0..=all).take_while(|out| may_eject(all, *out)).count();
        let ejected: Vec<usize> = (0..=7).map(most).collect();
        assert_eq!(ejected, [0, 0, 1, 1, 2, 2, 3, 3]);
        for all in 1..=7 {
            assert!(!is_panic(all, most(all)) && is_panic(all, all));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn msh_05_only_faults_in_a_row_count() {
        let outlier = Outlier::default();
        for _ in 0..20 {
            assert!((1..FAULTS).all(|_| !outlier.fault()));
            outlier.good();
        }
        assert!((1..FAULTS).all(|_| !outlier.fault()));
        assert!(outlier.fault() && !outlier.is_out());
    }

    #[tokio::test(start_paused = true)]
    async fn msh_05_each_time_is_longer_until_it_is_forgiven() {
        type Leave = fn(&Outlier) -> Duration;
        type IsLeftOut = fn(&Outlier) -> bool;
        let both: [(Leave, IsLeftOut); 2] = [
            (Outlier::eject, Outlier::is_out),
            (Outlier::away, Outlier::is_away),
        ];
        for (leave, is_left_out) in both {
            let outlier = Outlier::default();
            for seconds in (1..=LONGEST).chain([LONGEST]).map(|times| times * 30) {
                assert_eq!(leave(&outlier), Duration::from_secs(seconds.into()));
                advance(Duration::from_secs(u64::from(seconds) - 1)).await;
                assert!(is_left_out(&outlier));
                advance(Duration::from_secs(1)).await;
                assert!(!is_left_out(&outlier));
            }
            advance(FORGIVEN + Duration::from_secs(1)).await;
            assert_eq!(leave(&outlier), OUT);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn msh_05_who_is_back_is_preferred_again_and_not_forgiven_at_once() {
        let outlier = Outlier::default();
        outlier.away();
        outlier.back();
        assert!(!outlier.is_away());
        assert_eq!(outlier.away(), OUT * 2);
    }
}
