//! The instant by which an answer is worth having.

use std::{future::Future, time::Duration};

use tokio::time::{Instant, timeout_at};

/// Stands for "no limit" where an addition would overflow: about thirty years.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
/// The gRPC specification allows a value of at most eight digits.
const MAX_DIGITS: usize = 8;
const MAX_VALUE: u128 = 99_999_999;
/// Units of the `grpc-timeout` header with their length in nanoseconds, finest first.
const UNITS: [(char, u128); 6] = [
    ('n', 1),
    ('u', 1_000),
    ('m', 1_000_000),
    ('S', 1_000_000_000),
    ('M', 60_000_000_000),
    ('H', 3_600_000_000_000),
];

/// The instant by which an answer is worth having.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The deadline passed before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline is over")]
pub struct Elapsed;

impl Deadline {
    /// Returns the instant `budget` from now.
    pub fn after(budget: Duration) -> Self {
        let now = Instant::now();
        Self(now.checked_add(budget).unwrap_or_else(|| now + FAR))
    }

    /// Returns the instant itself, for a timer.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// Returns the time that is left, zero when it is over.
    pub fn remaining(&self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Returns whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }

    /// Returns whichever of the two comes first.
    #[must_use]
    pub fn earlier(self, other: Self) -> Self {
        self.min(other)
    }

    /// Returns a deadline that lies `margin` before this one.
    #[must_use]
    pub fn less(self, margin: Duration) -> Self {
        Self(self.0.checked_sub(margin).unwrap_or_else(Instant::now))
    }

    /// Runs a future until the deadline.
    ///
    /// When nothing is left the future is not even started, so a spent budget makes no call.
    ///
    /// # Errors
    /// [`Elapsed`] when the deadline comes first; the future is dropped then.
    pub async fn run<F: Future>(self, future: F) -> Result<F::Output, Elapsed> {
        if self.is_over() {
            return Err(Elapsed);
        }
        timeout_at(self.0, future).await.map_err(|_| Elapsed)
    }

    /// Reads the value of a `grpc-timeout` header; nothing when it breaks the syntax.
    pub fn from_grpc_timeout(text: &str) -> Option<Self> {
        parse(text).map(Self::after)
    }

    /// Returns what is left as the value of a `grpc-timeout` header, never more than is left.
    pub fn to_grpc_timeout(&self) -> String {
        format(self.remaining())
    }
}

fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.chars();
    let unit = rest.next_back()?;
    let digits = rest.as_str();
    let valid = (1..=MAX_DIGITS).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    let (_, nanos) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    let value: u64 = valid.then(|| digits.parse().ok())??;
    let total = u128::from(value) * nanos;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    let fraction = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, fraction))
}

/// Takes the finest unit in which the value has eight digits, and rounds down.
fn format(left: Duration) -> String {
    let nanos = left.as_nanos();
    let fitting = UNITS
        .into_iter()
        .find(|(_, length)| nanos / length <= MAX_VALUE);
    match fitting {
        Some((unit, length)) => format!("{}{unit}", nanos / length),
        None => format!("{MAX_VALUE}H"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_budget_survives_the_header_and_never_grows(seconds in 0_u64..360_000_000_000, nanos in 0_u32..1_000_000_000) {
            let budget = Duration::new(seconds, nanos);
            let text = format(budget);
            let read = parse(&text).unwrap();
            let unit = UNITS.into_iter().find(|(name, _)| text.ends_with(*name)).unwrap().1;
            prop_assert!(text.len() <= MAX_DIGITS + 1);
            prop_assert!(read <= budget);
            prop_assert!(budget.as_nanos() - read.as_nanos() < unit, "{text} loses more than its unit");
        }

        #[test]
        fn every_valid_header_is_read_exactly(value in 0_u64..=99_999_999, unit in 0_usize..UNITS.len()) {
            let (name, length) = UNITS[unit];
            let read = parse(&format!("{value}{name}")).unwrap();
            prop_assert_eq!(read.as_nanos(), u128::from(value) * length);
        }

        #[test]
        fn foreign_text_is_refused_without_panic(text in "\\PC*") {
            let valid = text.len() >= 2
                && text.len() <= 9
                && text.ends_with(['H', 'M', 'S', 'm', 'u', 'n'])
                && text[..text.len() - 1].bytes().all(|byte| byte.is_ascii_digit());
            prop_assert_eq!(parse(&text).is_some(), valid);
        }
    }

    #[test]
    fn malformed_headers_are_refused() {
        for text in [
            "",
            "S",
            "1",
            "1s",
            "-1S",
            "+1S",
            "1 S",
            "1.5S",
            "123456789n",
            "1Sé",
            "٣S",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_spent_budget_makes_no_call() {
        let mut called = false;
        let outcome = Deadline::after(Duration::ZERO)
            .run(async { called = true })
            .await;
        assert_eq!(outcome, Err(Elapsed));
        assert!(!called);
    }

    #[tokio::test(start_paused = true)]
    async fn work_is_dropped_at_the_deadline() {
        let deadline = Deadline::after(Duration::from_secs(3));
        let begun = Instant::now();
        assert_eq!(
            deadline.run(std::future::pending::<()>()).await,
            Err(Elapsed)
        );
        assert_eq!(begun.elapsed().as_secs(), 3);
        assert_eq!(deadline.remaining(), Duration::ZERO);
        assert!(deadline.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn deadlines_compare_and_shrink() {
        let near = Deadline::after(Duration::from_secs(1));
        let far = Deadline::after(Duration::MAX);
        assert_eq!(near.earlier(far), near);
        assert_eq!(
            near.less(Duration::from_millis(50)).remaining(),
            Duration::from_millis(950)
        );
        assert!(near.less(Duration::from_secs(2)).is_over());
        assert!(!far.is_over());
    }
}
