//! The table on the screen, and the JSON beside it.

use std::fs;

use chrono::{SecondsFormat, Utc};
use sutazai_cli::{
    generate::results::{Outcome, PATH, Peer, Results, Spread, short},
    screen::{Mark, Screen},
};

use crate::{failure::Failure, machine, stage::Stage};

/// The results of a run, as far as it has come.
#[derive(Debug)]
pub struct Run {
    results: Results,
    file: std::path::PathBuf,
}

impl Run {
    /// Notes the time, the machine and the versions.
    pub fn begin(stage: &Stage) -> Self {
        let now = Utc::now();
        let mut versions = machine::versions();
        if stage.peers() {
            versions.extend(crate::peer::versions());
        }
        Self {
            file: stage
                .folder()
                .join(format!("{}.json", now.format("%Y%m%dT%H%M%SZ"))),
            results: Results {
                taken: now.to_rfc3339_opts(SecondsFormat::Secs, true),
                machine: machine::look(),
                versions,
                rows: Vec::new(),
            },
        }
    }

    /// Adds the figures of a row.
    pub fn add(&mut self, outcomes: Vec<Outcome>) {
        self.results.rows.extend(outcomes);
    }

    /// Says whether a row failed or missed its goal.
    pub fn missed(&self) -> bool {
        self.results.rows.iter().any(|row| row.met == Some(false))
    }

    /// Writes the JSON; that of all rows also to where the README's table is made from.
    ///
    /// # Errors
    /// A file can not be written.
    pub fn write(&self, whole: bool, screen: &Screen) -> Result<(), Failure> {
        let mut text = serde_json::to_string_pretty(&self.results)?;
        text.push('\n');
        let machine = &self.results.machine;
        screen.line(format!(
            "\n{} cores of {}, {} MiB, {}, kernel {}",
            machine.cores, machine.processor, machine.memory_mib, machine.system, machine.kernel
        ));
        let mut files = vec![self.file.clone()];
        if whole {
            files.push(PATH.into());
        }
        for file in files {
            let doing = Failure::doing(format!("write {}", file.display()));
            fs::write(&file, &text).map_err(doing)?;
            screen.line(format!("wrote {}", file.display()));
        }
        if whole {
            screen.line("`make generate` brings the table into the README");
        }
        Ok(())
    }
}

/// Prints the figures of a row.
pub fn print(outcomes: &[Outcome], screen: &Screen) {
    for line in table(outcomes) {
        screen.line(line);
    }
    for row in outcomes.iter().filter(|row| !row.goal.is_empty()) {
        let mark = match row.met {
            Some(true) => Mark::Good,
            Some(false) => Mark::Bad,
            None => Mark::Open,
        };
        screen.line(format!(
            "{} {} {}: {} (goal {})",
            screen.mark(mark),
            row.id,
            row.what,
            row.verdict(),
            row.goal
        ));
    }
    if let Some(row) = outcomes.first() {
        screen.line(format!(
            "  {} rounds, {} discarded",
            row.rounds, row.discarded
        ));
    }
}

/// Returns the lines of a table: the least, middle and greatest of all rounds.
fn table(outcomes: &[Outcome]) -> Vec<String> {
    let mut cells = vec![["what", "unit", "ours", "limit", "peer", "ratio"].map(str::to_owned)];
    cells.extend(outcomes.iter().map(|row| {
        let peer = match &row.peer {
            Some(Peer::Measured { name, spread }) => format!("{name} {}", in_words(Some(*spread))),
            Some(Peer::Absent(word)) => word.clone(),
            None => "–".to_owned(),
        };
        [
            row.what.clone(),
            row.unit.clone(),
            in_words(row.ours),
            in_words(row.limit),
            peer,
            in_words(row.ratio),
        ]
    }));
    let mut widths = [0; 6];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |row: &[String; 6]| {
        let padded = row
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end())
    };
    cells.iter().map(line).collect()
}

fn in_words(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |spread| {
            format!(
                "{} [{} … {}]",
                short(spread.median),
                short(spread.min),
                short(spread.max)
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_a_heading_and_straight_columns() {
        let row = Outcome {
            id: "A1".to_owned(),
            what: "requests".to_owned(),
            unit: "1/s".to_owned(),
            ours: Some(Spread {
                min: 1.0,
                median: 20_000.0,
                max: 30_000.0,
            }),
            limit: None,
            peer: Some(Peer::Absent("LiteLLM: not run".to_owned())),
            ratio: None,
            goal: "≥ 200 ×".to_owned(),
            met: None,
            failed: None,
            rounds: 7,
            discarded: 0,
        };
        let lines = table(&[row]);
        assert_eq!(lines.len(), 2);
        assert!(lines[1].contains("20000 [1.00 … 30000]  –"), "{}", lines[1]);
        let column = |line: &str, word| line.find(word).map(|at| line[..at].chars().count());
        assert_eq!(column(&lines[0], "peer"), column(&lines[1], "LiteLLM"));
    }
}
