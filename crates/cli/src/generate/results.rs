//! What `make bench` wrote: the figures of one run, as JSON and as the README's table.

use std::{collections::BTreeMap, fmt::Write};

use serde::{Deserialize, Serialize};

/// The committed results, from the root of the repository; `make bench` alone writes them.
pub const PATH: &str = "crates/bench/results.json";
/// What the table stands between in the README.
const BEGIN: &str = "<!-- bench: generated from crates/bench/results.json -->\n";
const END: &str = "<!-- /bench -->\n";

/// One run of the benchmark.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// When it began, RFC 3339.
    pub taken: String,
    /// What it ran on.
    pub machine: Machine,
    /// Versions of what took part.
    pub versions: BTreeMap<String, String>,
    /// One entry a figure.
    pub rows: Vec<Outcome>,
}

/// The machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Logical processors.
    pub cores: usize,
    /// Memory, in MiB.
    pub memory_mib: u64,
    /// Name of the processor.
    pub processor: String,
    /// Name of the operating system.
    pub system: String,
    /// Release of the kernel.
    pub kernel: String,
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// The greatest.
    pub max: f64,
}

/// What stood beside ours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Peer {
    /// Somebody's program, measured in the same rounds.
    Measured {
        /// Its name.
        name: String,
        /// Its figure.
        #[serde(flatten)]
        spread: Spread,
    },
    /// Why there is no figure: `not run`.
    Absent(String),
}

/// One figure of a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The row, like `A1`.
    pub id: String,
    /// What was measured.
    pub what: String,
    /// Its unit.
    pub unit: String,
    /// Our figure.
    pub ours: Option<Spread>,
    /// The figure of the least code that does the same.
    pub limit: Option<Spread>,
    /// The figure of somebody's program; none where none is compared.
    pub peer: Option<Peer>,
    /// Ours by the other's of the same round.
    pub ratio: Option<Spread>,
    /// What has to be reached, in words; empty where the figure only informs.
    pub goal: String,
    /// Whether it was; none where there is no goal or the other was not run.
    pub met: Option<bool>,
    /// Why the row failed: errors and lost work are no slowness.
    pub failed: Option<String>,
    /// Rounds that count.
    pub rounds: usize,
    /// Rounds thrown away because others used the machine.
    pub discarded: usize,
}

/// Returns the README with its table replaced; without results the section says that there are none.
#[must_use]
pub fn into_readme(readme: &str, results: Option<&Results>) -> String {
    let Some((before, rest)) = readme.split_once(BEGIN) else {
        return readme.to_owned();
    };
    let Some((_, after)) = rest.split_once(END) else {
        return readme.to_owned();
    };
    format!("{before}{BEGIN}{}{END}{after}", section(results))
}

fn section(results: Option<&Results>) -> String {
    let Some(results) = results else {
        return "No run of `make bench` is committed.\n".to_owned();
    };
    let Machine {
        cores,
        memory_mib,
        system,
        ..
    } = &results.machine;
    let tenths = (memory_mib * 10 + 512) / 1024;
    let day = results.taken.split('T').next().unwrap_or_default();
    let mut text = format!(
        "Printed by `make bench` on {day}: {cores} cores, {}.{} GiB, {system}. A ratio is ours by the other's of the \
         same round, the median of all rounds ([how to read it](crates/bench)).\n\n\
         | row | what | beside | figure | goal | met |\n|---|---|---|---|---|---|\n",
        tenths / 10,
        tenths % 10
    );
    for row in results.rows.iter().filter(|row| !row.goal.is_empty()) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            row.id,
            row.what,
            beside(row),
            figure(row),
            row.goal,
            row.verdict()
        );
    }
    text
}

fn beside(row: &Outcome) -> &str {
    match (&row.peer, &row.limit) {
        (Some(Peer::Measured { name, .. }), _) => name,
        (Some(Peer::Absent(word)), _) => word,
        (None, Some(_)) => "limit",
        (None, None) => "–",
    }
}

fn figure(row: &Outcome) -> String {
    match (row.ratio, row.ours) {
        (Some(ratio), _) => format!("{} ×", short(ratio.median)),
        (None, Some(ours)) => format!("{} {}", short(ours.median), row.unit)
            .trim_end()
            .to_owned(),
        (None, None) => "–".to_owned(),
    }
}

impl Outcome {
    /// Says in a word or two whether the goal was reached.
    #[must_use]
    pub fn verdict(&self) -> &'static str {
        match (&self.failed, self.met) {
            (Some(_), _) => "failed",
            (None, Some(true)) => "yes",
            (None, Some(false)) => "no",
            (None, None) => "not run",
        }
    }
}

/// Writes a number with three digits that mean something.
#[must_use]
pub fn short(value: f64) -> String {
    let size = value.abs();
    if size >= 100.0 || value == 0.0 {
        format!("{value:.0}")
    } else if size >= 10.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(median: f64) -> Spread {
        Spread {
            min: median / 2.0,
            median,
            max: median * 2.0,
        }
    }

    fn results() -> Results {
        let row = Outcome {
            id: "A1".to_owned(),
            what: "requests a second".to_owned(),
            unit: "1/s".to_owned(),
            ours: Some(spread(40_000.0)),
            limit: Some(spread(50_000.0)),
            peer: None,
            ratio: Some(spread(0.8)),
            goal: "≥ 0.75 ×".to_owned(),
            met: Some(true),
            failed: None,
            rounds: 7,
            discarded: 1,
        };
        let peer = Outcome {
            peer: Some(Peer::Absent("not run".to_owned())),
            ratio: None,
            met: None,
            ..row.clone()
        };
        let informs = Outcome {
            what: "only informs".to_owned(),
            goal: String::new(),
            ..row.clone()
        };
        Results {
            taken: "2026-11-29T06:45:00Z".to_owned(),
            machine: Machine {
                cores: 2,
                memory_mib: 7936,
                processor: "a processor".to_owned(),
                system: "Debian 12".to_owned(),
                kernel: "6.1".to_owned(),
            },
            versions: BTreeMap::new(),
            rows: vec![row, peer, informs],
        }
    }

    #[test]
    fn the_table_replaces_what_stood_between_the_marks() {
        let readme = format!("# Title\n{BEGIN}| stale |\n{END}after\n");
        let text = into_readme(&readme, Some(&results()));
        assert!(text.starts_with("# Title\n") && text.ends_with("after\n"));
        assert!(!text.contains("stale"), "{text}");
        assert!(text.contains("2026-11-29: 2 cores, 7.8 GiB, Debian 12"));
        assert!(
            text.contains("| A1 | requests a second | limit | 0.80 × | ≥ 0.75 × | yes |"),
            "{text}"
        );
        assert!(text.contains("| not run |"), "{text}");
        assert!(!text.contains("only informs"), "{text}");
        assert_eq!(into_readme(&text, Some(&results())), text);
    }

    #[test]
    fn without_results_no_figure_is_named() {
        let readme = format!("{BEGIN}| stale |\n{END}");
        let text = into_readme(&readme, None);
        assert!(!text.contains("stale") && !text.contains('|'), "{text}");
        assert_eq!(into_readme("no marks", None), "no marks");
    }

    #[test]
    fn the_json_has_the_shape_that_others_read() {
        let json = serde_json::to_value(results()).unwrap();
        let row = &json["rows"][0];
        for field in ["id", "ours", "limit", "peer", "ratio", "goal", "met"] {
            assert!(row.get(field).is_some(), "{field} is missing in {row}");
        }
        assert_eq!(json["rows"][1]["peer"], "not run");
        assert_eq!(json["machine"]["cores"], 2);
        assert_eq!(serde_json::from_value::<Results>(json).unwrap(), results());
        let named = Peer::Measured {
            name: "nginx".to_owned(),
            spread: spread(1.0),
        };
        let json = serde_json::to_value(&named).unwrap();
        assert_eq!(json["median"], 1.0);
        assert_eq!(serde_json::from_value::<Peer>(json).unwrap(), named);
    }
}
