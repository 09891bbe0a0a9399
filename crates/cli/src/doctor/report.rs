//! Rows of evidence, and how they are shown.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::screen::{Mark, Screen};

/// What was seen of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Name of the part.
    pub part: String,
    /// Whether it works; `null` when it could not be judged because another part is broken.
    pub ok: Option<bool>,
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
            ok: Some(true),
            evidence: evidence.into(),
            cause: None,
            counters: BTreeMap::new(),
        }
    }

    /// Makes the row of a part that does not work.
    pub fn bad(part: &str, cause: impl Into<String>) -> Self {
        Self {
            ok: Some(false),
            cause: Some(cause.into()),
            ..Self::good(part, "")
        }
    }

    /// Adds totals.
    #[must_use]
    pub fn counting(mut self, counters: impl IntoIterator<Item = (String, u64)>) -> Self {
        self.counters.extend(counters);
        self
    }
}

/// All rows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In the order in which they were judged.
    pub rows: Vec<Row>,
}

impl Report {
    /// Says whether every part works.
    pub fn is_well(&self) -> bool {
        !self.rows.is_empty() && self.rows.iter().all(|row| row.ok == Some(true))
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Says whether a part can be judged: all that it needs works. If not, adds a row that says so.
    pub(super) fn can_judge(&mut self, part: &str, needs: &[&str]) -> bool {
        let broken: Vec<&str> = self
            .rows
            .iter()
            .filter(|row| row.ok != Some(true) && needs.contains(&row.part.as_str()))
            .map(|row| row.part.as_str())
            .collect();
        if broken.is_empty() {
            return true;
        }
        let cause = format!("not judged: it needs {}", broken.join(", "));
        self.add(Row {
            ok: None,
            ..Row::bad(part, cause)
        });
        false
    }

    pub(super) fn print(&self, screen: &Screen) {
        if screen.is_json() {
            screen.event(self);
            return;
        }
        let width = self
            .rows
            .iter()
            .map(|row| row.part.len())
            .max()
            .unwrap_or(0);
        for row in &self.rows {
            let mark = match row.ok {
                Some(true) => Mark::Good,
                Some(false) => Mark::Bad,
                None => Mark::Open,
            };
            let text = row.cause.as_ref().unwrap_or(&row.evidence);
            let counters: Vec<String> = row
                .counters
                .iter()
                .map(|(name, total)| format!("{name} {total}"))
                .collect();
            let counters = if counters.is_empty() {
                String::new()
            } else {
                format!("  [{}]", counters.join(", "))
            };
            screen.line(format!(
                "{} {:<width$}  {text}{counters}",
                screen.mark(mark),
                row.part
            ));
        }
        let well = self.rows.iter().filter(|row| row.ok == Some(true)).count();
        screen.line(format!("{well} of {} parts work", self.rows.len()));
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
        assert!(!report.can_judge("task", &["postgres", "broker"]));
        assert!(report.can_judge("other", &["broker"]));
        assert_eq!(
            report
                .rows
                .iter()
                .filter(|row| row.ok == Some(false))
                .count(),
            1
        );
        assert_eq!(report.rows[2].ok, None);
        assert!(!report.is_well());
    }

    #[test]
    fn an_empty_report_is_not_well() {
        assert!(!Report::default().is_well());
    }
}
