//! The figures of a bar beside their goals, one line each; `.ci/bars.awk` makes a table of them.

use std::{fmt, time::Duration};

use crate::size::Size;

/// One bar while it is measured.
pub(crate) struct Bar {
    id: &'static str,
    is_long: bool,
    missed: Vec<String>,
}

/// A number and its unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure(pub(crate) f64, pub(crate) &'static str);

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    Is(f64),
    AtMost(f64),
    AtLeast(f64),
}

/// Returns the time that 99 of 100 keep.
pub(crate) fn p99(times: impl Iterator<Item = Duration>) -> Duration {
    let mut times: Vec<Duration> = times.collect();
    times.sort_unstable();
    let last = times.len().checked_sub(1).expect("a time");
    times[last * 99 / 100]
}

impl Bar {
    /// Begins with no figure.
    pub(crate) fn new(id: &'static str, size: &Size) -> Self {
        Self {
            id,
            is_long: size.is_long,
            missed: Vec::new(),
        }
    }

    /// Shows a figure that counts in a run of any form.
    pub(crate) fn holds(&mut self, what: &str, figure: impl Into<Figure>, goal: Goal) {
        self.show(what, figure.into(), goal, true);
    }

    /// Shows a figure that counts in the long form alone: a machine that runs other tests as well is
    /// not judged by its times.
    pub(crate) fn measured(&mut self, what: &str, figure: impl Into<Figure>, goal: Goal) {
        self.show(what, figure.into(), goal, self.is_long);
    }

    fn show(&mut self, what: &str, figure: Figure, goal: Goal, counts: bool) {
        let verdict = match (goal.is_met_by(figure), counts) {
            (true, _) => "pass",
            (false, true) => "fail",
            (false, false) => "over, not judged",
        };
        let line = format!("bar|{}|{what}|{figure}|{goal}|{verdict}", self.id);
        println!("{line}");
        if verdict == "fail" {
            self.missed.push(line);
        }
    }

    /// Fails unless every goal that counts was met.
    pub(crate) fn close(self) {
        assert!(self.missed.is_empty(), "{:#?}", self.missed);
    }
}

impl Goal {
    fn is_met_by(self, Figure(figure, _): Figure) -> bool {
        match self {
            // Counts: whole numbers far below the largest that is exact.
            Self::Is(goal) => (figure - goal).abs() < f64::EPSILON,
            Self::AtMost(goal) => figure <= goal,
            Self::AtLeast(goal) => figure >= goal,
        }
    }
}

impl From<usize> for Figure {
    fn from(count: usize) -> Self {
        Self::from(count as u64)
    }
}

impl From<u64> for Figure {
    fn from(count: u64) -> Self {
        let count = u32::try_from(count).expect("a count of a test");
        Self(count.into(), "")
    }
}

impl From<Duration> for Figure {
    fn from(time: Duration) -> Self {
        Self(time.as_secs_f64(), "s")
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(number, "") => write!(f, "{number}"),
            Self(number, unit) => write!(f, "{number:.2} {unit}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Is(goal) => write!(f, "= {goal}"),
            Self::AtMost(goal) => write!(f, "≤ {goal}"),
            Self::AtLeast(goal) => write!(f, "≥ {goal}"),
        }
    }
}

#[test]
fn a_planted_miss_fails_its_bar_and_only_where_it_counts() {
    let bar = |is_long| {
        let sizes = Size::of_this_run();
        Bar::new("planted", &Size { is_long, ..sizes })
    };
    let mut quick = bar(false);
    quick.measured("too late", Duration::from_secs(2), Goal::AtMost(1.0));
    assert_eq!(quick.missed, [""; 0]);
    quick.holds("lost", 1_usize, Goal::Is(0.0));
    assert_eq!(quick.missed, ["bar|planted|lost|1|= 0|fail"]);

    let mut long = bar(true);
    long.measured("in time", Duration::from_secs(1), Goal::AtMost(1.0));
    assert_eq!(long.missed, [""; 0]);
    long.measured("too few", 9_usize, Goal::AtLeast(10.0));
    assert_eq!(long.missed, ["bar|planted|too few|9|≥ 10|fail"]);
}
