//! Rows of evidence, and how they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::traffic::Traffic;
use crate::screen::{Mark, Screen};

/// How a part stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It works, and it carried work.
    Well,
    /// It works, and nobody but probes has used it since its processes started.
    Unused,
    /// It does not work.
    Broken,
    /// It could not be judged, because another part is broken.
    NotJudged,
    /// This platform has no such part.
    NotRun,
}

/// What was seen of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the part.
    pub part: String,
    /// How it stands.
    pub state: State,
    /// What was seen, readable alone.
    pub evidence: String,
    /// Why it does not work, and the way out.
    pub cause: Option<String>,
    /// Totals that show real work through this part.
    pub counters: BTreeMap<String, u64>,
}

impl Row {
    /// Makes the row of a part that works.
    pub fn good(part: &str, evidence: impl Into<String>) -> Self {
        Self {
            part: part.to_owned(),
            state: State::Well,
            evidence: evidence.into(),
            cause: None,
            counters: BTreeMap::new(),
        }
    }

    /// Makes the row of a part that does not work.
    pub fn bad(part: &str, cause: impl Into<String>) -> Self {
        Self {
            state: State::Broken,
            cause: Some(cause.into()),
            ..Self::good(part, "")
        }
    }

    /// Makes the row of a part that another one keeps from being judged.
    pub fn not_judged(part: &str, cause: impl Into<String>) -> Self {
        Self {
            state: State::NotJudged,
            ..Self::bad(part, cause)
        }
    }

    /// Makes the row of a part that this platform does without.
    pub fn not_run(part: &str, evidence: impl Into<String>) -> Self {
        Self {
            state: State::NotRun,
            ..Self::good(part, evidence)
        }
    }

    /// Adds totals.
    #[must_use]
    pub fn counting(mut self, counters: impl IntoIterator<Item = (String, u64)>) -> Self {
        self.counters.extend(counters);
        self
    }

    /// Adds what the part carried; one that works and carried nothing is unused.
    #[must_use]
    pub(super) fn carrying(mut self, traffic: Traffic) -> Self {
        self.counters.extend(traffic.counters);
        if self.state == State::Well && !traffic.used {
            self.state = State::Unused;
        }
        self
    }

    /// Says whether others can count on the part.
    fn is_sound(&self) -> bool {
        !matches!(self.state, State::Broken | State::NotJudged)
    }
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order in which they were judged.
    pub rows: Vec<Row>,
}

impl Report {
    /// Says whether no part is broken, and none was kept from being judged.
    ///
    /// A part without traffic is no failure: right after a start nothing has been used yet.
    pub fn is_well(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(Row::is_sound)
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Says whether a part was judged and is broken, or was not judged.
    pub(super) fn lacks(&self, part: &str) -> bool {
        let mut rows = self.rows.iter();
        rows.any(|row| row.part == part && !row.is_sound())
    }

    /// Says whether a part can be judged: all that it needs works. If not, adds a row that says so.
    pub(super) fn can_judge(&mut self, part: &str, needs: &[&str]) -> bool {
        let needs = needs.iter().copied();
        let broken: Vec<&str> = needs.filter(|need| self.lacks(need)).collect();
        if broken.is_empty() {
            return true;
        }
        let cause = format!("not judged: it needs {}", broken.join(", "));
        self.add(Row::not_judged(part, cause));
        false
    }

    /// Lets an open breaker that is red already explain why another part fails.
    pub(super) fn or_refused(&self, row: Row) -> Row {
        let red = |row: &&Row| row.state == State::Broken && row.part.starts_with("breaker ");
        match (row.state, self.rows.iter().find(red)) {
            (State::Broken, Some(breaker)) => {
                let cause = row.cause.unwrap_or_default();
                let cause = format!("not judged: {} is open; {cause}", breaker.part);
                Row::not_judged(&row.part, cause)
            }
            _ => row,
        }
    }

    pub(super) fn print(&self, screen: &Screen) {
        if screen.is_json() {
            screen.event(self);
            return;
        }
        let widths = self.rows.iter().map(|row| row.part.len());
        let width = widths.max().unwrap_or(0);
        for row in &self.rows {
            screen.line(format!(
                "{} {:<width$}  {}",
                screen.mark(row.state.mark()),
                row.part,
                row.text()
            ));
        }
        screen.line(self.summary());
    }

    fn summary(&self) -> String {
        let count = |state| self.rows.iter().filter(|row| row.state == state).count();
        let well = format!("{} of {} parts work", count(State::Well), self.rows.len());
        let others = [
            (State::Unused, "unused"),
            (State::Broken, "broken"),
            (State::NotJudged, "not judged"),
            (State::NotRun, "not run"),
        ];
        let others = others.map(|(state, word)| (count(state), word));
        let others = others.into_iter().filter(|(some, _)| *some > 0);
        let others = others.map(|(some, word)| format!("{some} {word}"));
        [well]
            .into_iter()
            .chain(others)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl Row {
    fn text(&self) -> String {
        let said = self.cause.as_ref().unwrap_or(&self.evidence);
        let prefix = match self.state {
            State::Unused => "unused so far: ",
            State::NotRun => "not run: ",
            _ => "",
        };
        let counters = self.counters.iter();
        let counters: Vec<_> = counters
            .map(|(name, total)| format!("{name} {total}"))
            .collect();
        if counters.is_empty() {
            return format!("{prefix}{said}");
        }
        format!("{prefix}{said}  [{}]", counters.join(", "))
    }
}

impl State {
    fn mark(self) -> Mark {
        match self {
            Self::Well => Mark::Good,
            Self::Broken => Mark::Bad,
            Self::NotJudged => Mark::Open,
            Self::Unused | Self::NotRun => Mark::Idle,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_a_broken_part_is_not_judged() {
        let mut report = Report::default();
        report.add(Row::bad("postgres", "connection refused"));
        report.add(Row::good("broker", "one message"));
        report.add(Row::not_run("kong", "no kong"));
        assert!(!report.can_judge("task", &["postgres", "broker"]));
        assert!(report.can_judge("other", &["broker", "kong"]));
        let states: Vec<State> = report.rows.iter().map(|row| row.state).collect();
        let expected = [State::Broken, State::Well, State::NotRun, State::NotJudged];
        assert_eq!(states, expected);
        assert!(!report.is_well());
    }

    #[test]
    fn net_03_a_part_without_traffic_is_unused_and_neither_green_nor_red() {
        let idle = || Traffic {
            used: false,
            counters: [("queries".to_owned(), 0)].into(),
        };
        let mut report = Report::default();
        report.add(Row::good("postgres", "answers").carrying(idle()));
        report.add(Row::bad("redis", "connection refused").carrying(idle()));
        assert_eq!(report.rows[0].state, State::Unused);
        assert_eq!(report.rows[0].text(), "unused so far: answers  [queries 0]");
        assert_eq!(report.rows[1].state, State::Broken);
        assert_eq!(report.summary(), "0 of 2 parts work, 1 unused, 1 broken");
        report.rows.pop();
        assert!(report.is_well());
    }

    #[test]
    fn an_empty_report_is_not_well() {
        assert!(!Report::default().is_well());
    }
}
