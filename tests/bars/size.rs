//! How much a run does: seconds beside all other tests, or what the bars say.

use std::{env, ops::Range, time::Duration};

/// Which of the two forms is run; `long` is the only other one.
const FORM: &str = "BARS";

/// The sizes of all bars.
pub(crate) struct Size {
    /// Whether this is the long form, on a machine that does nothing else: times count.
    pub(crate) is_long: bool,
    /// R1: processes that are killed.
    pub(crate) kills: u32,
    /// R1: submissions in a second. A debug build on two quiet cores, beside its servers and this
    /// load, has ended 50 a second some 35 s after the last kill.
    pub(crate) rate: u32,
    /// R3: good tasks of each of its two rounds, how many of them come in a second, and how many are
    /// to one that is poison.
    pub(crate) good: u32,
    pub(crate) good_rate: u32,
    pub(crate) good_to_poison: u32,
    /// R5: how often the broker is gone for short, for how many seconds, and once for long.
    pub(crate) outages: u32,
    pub(crate) short_outages: Range<f64>,
    pub(crate) long_outage: Option<Duration>,
    /// R5: how long the broker stays before it goes again. Long enough, its supervisor takes it for
    /// well, and does not wait ever longer before it starts it.
    pub(crate) calm: Duration,
    /// R6: how long the registry is gone.
    pub(crate) registry_outage: Duration,
    /// R9: clients that leave.
    pub(crate) disconnects: u32,
}

const QUICK: Size = Size {
    is_long: false,
    kills: 20,
    rate: 50,
    good: 100,
    good_rate: 25,
    good_to_poison: 10,
    outages: 2,
    short_outages: 3.0..5.0,
    long_outage: None,
    calm: Duration::from_secs(1),
    registry_outage: Duration::from_secs(5),
    disconnects: 48,
};
const LONG: Size = Size {
    is_long: true,
    kills: 200,
    rate: 100,
    good: 10_000,
    good_rate: 100,
    good_to_poison: 10,
    outages: 49,
    short_outages: 5.0..30.0,
    long_outage: Some(Duration::from_secs(600)),
    calm: Duration::from_secs(8),
    registry_outage: Duration::from_secs(600),
    disconnects: 1_000,
};

impl Size {
    /// Returns the sizes of the form that was asked for. `KILLS` and `RATE` change the quick form of
    /// R1; the long one is what the bar says.
    pub(crate) fn of_this_run() -> Self {
        if let Ok(form) = env::var(FORM) {
            assert_eq!(form, "long", "{FORM}");
            return LONG;
        }
        Self {
            kills: number("KILLS").unwrap_or(QUICK.kills),
            rate: number("RATE").unwrap_or(QUICK.rate),
            ..QUICK
        }
    }
}

/// Returns the seed of a run, the one that was asked for or a drawn one, and shows it.
pub(crate) fn seed() -> u64 {
    let seed = number("SEED").unwrap_or_else(rand::random::<u16>);
    println!("SEED={seed}");
    seed.into()
}

fn number<N: std::str::FromStr<Err: std::fmt::Debug>>(variable: &str) -> Option<N> {
    let text = env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}
