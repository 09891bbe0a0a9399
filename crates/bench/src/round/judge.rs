//! From rounds to a figure: ratios of the same round, their middle, and whether the goal is met.

use sutazai_cli::generate::results::{Outcome, Peer, Spread, short};

use super::{Round, Rounds};
use crate::{
    row::{Beside, Figure, Goal, Side},
    spread::spread,
};

/// What stands where a peer was not asked for.
const NOT_RUN: &str = "not run";

/// Returns a figure over all rounds that count.
pub(super) fn outcome(
    id: &str,
    figure: &Figure,
    rounds: &Rounds,
    failed: Option<String>,
) -> Outcome {
    let of = |side: Side| {
        spread(
            rounds
                .counted
                .iter()
                .filter_map(|round| value(round, figure, side)),
        )
    };
    let other = match figure.beside {
        Beside::Nothing => None,
        Beside::Limit => Some(Side::Limit),
        Beside::Peer(name) => Some(Side::Peer(name)),
    };
    let pairs: Vec<(f64, f64)> = other
        .map(|other| pairs(&rounds.counted, figure, other))
        .unwrap_or_default();
    let peer = match figure.beside {
        Beside::Peer(name) => Some(match of(Side::Peer(name)) {
            Some(spread) => Peer::Measured {
                name: name.to_owned(),
                spread,
            },
            None => Peer::Absent(format!("{name}: {NOT_RUN}")),
        }),
        _ => None,
    };
    let ours = of(Side::Ours);
    let ratio = spread(
        pairs
            .iter()
            .filter(|(_, other)| *other > 0.0)
            .map(|(ours, other)| ours / other),
    );
    let met = match failed {
        Some(_) => Some(false).filter(|_| figure.goal != Goal::None),
        None => met(figure.goal, ours, ratio, &pairs),
    };
    Outcome {
        id: id.to_owned(),
        what: figure.what.to_owned(),
        unit: figure.unit.to_owned(),
        ours,
        limit: of(Side::Limit),
        peer,
        ratio,
        goal: in_words(figure),
        met,
        failed,
        rounds: rounds.counted.len(),
        discarded: rounds.discarded,
    }
}

fn value(round: &Round, figure: &Figure, side: Side) -> Option<f64> {
    let of = |wanted: Side| {
        let found = round.iter().find(|(side, _)| *side == wanted);
        found.and_then(|(_, values)| values.get(figure.key).copied())
    };
    if figure.added {
        Some(of(side)? - of(Side::Direct)?)
    } else {
        of(side)
    }
}

/// Returns ours and the other's of each round that has both.
fn pairs(rounds: &[Round], figure: &Figure, other: Side) -> Vec<(f64, f64)> {
    rounds
        .iter()
        .filter_map(|round| {
            Some((
                value(round, figure, Side::Ours)?,
                value(round, figure, other)?,
            ))
        })
        .collect()
}

fn met(
    goal: Goal,
    ours: Option<Spread>,
    ratio: Option<Spread>,
    pairs: &[(f64, f64)],
) -> Option<bool> {
    match goal {
        Goal::None => None,
        Goal::RatioAtLeast(bound) => Some(ratio?.median >= bound),
        Goal::RatioAtMost(bound) => Some(ratio?.median <= bound),
        Goal::RatioAtMostPlus(factor, plus) => {
            let over = spread(pairs.iter().map(|(ours, other)| ours - factor * other))?;
            Some(over.median <= plus)
        }
        Goal::AtMost(bound) => Some(ours?.median <= bound),
        Goal::Exactly(value) => {
            let ours = ours?;
            Some(
                [ours.min, ours.max]
                    .iter()
                    .all(|seen| (seen - value).abs() < 1e-9),
            )
        }
    }
}

fn in_words(figure: &Figure) -> String {
    let unit = figure.unit;
    let text = match figure.goal {
        Goal::None => String::new(),
        Goal::RatioAtLeast(bound) => format!("≥ {} ×", short(bound)),
        Goal::RatioAtMost(bound) => format!("≤ {} ×", short(bound)),
        Goal::RatioAtMostPlus(factor, plus) => {
            format!("≤ {} × + {} {unit}", short(factor), short(plus))
        }
        Goal::AtMost(bound) => format!("≤ {} {unit}", short(bound)),
        Goal::Exactly(value) => format!("= {} {unit}", short(value)),
    };
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RPS: Figure = Figure::new("rps", "requests a second", "1/s");

    fn rounds(values: &[(Side, f64)], times: usize) -> Rounds {
        let round: Round = values
            .iter()
            .map(|(side, value)| (*side, [("rps", *value)].into()))
            .collect();
        Rounds {
            wanted: times,
            counted: vec![round; times],
            discarded: 2,
        }
    }

    #[test]
    fn ratios_are_made_inside_a_round_and_their_middle_counts() {
        let mut all = rounds(&[(Side::Limit, 100.0), (Side::Ours, 80.0)], 1);
        for (limit, ours) in [(10.0, 7.0), (1000.0, 900.0)] {
            all.counted
                .extend(rounds(&[(Side::Limit, limit), (Side::Ours, ours)], 1).counted);
        }
        let figure = RPS.limit(Goal::RatioAtLeast(0.75));
        let row = outcome("A1", &figure, &all, None);
        let ratio = row.ratio.unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (0.7, 0.8, 0.9));
        assert_eq!((row.met, row.rounds, row.discarded), (Some(true), 3, 2));
        assert_eq!(row.goal, "≥ 0.75 ×");
        let strict = RPS.limit(Goal::RatioAtLeast(0.81));
        assert_eq!(outcome("A1", &strict, &all, None).met, Some(false));
    }

    #[test]
    fn what_is_added_is_counted_from_the_direct_way_of_the_round() {
        let all = rounds(
            &[
                (Side::Direct, 50.0),
                (Side::Limit, 70.0),
                (Side::Ours, 90.0),
            ],
            3,
        );
        let figure = RPS.limit(Goal::RatioAtMost(1.6)).added();
        let row = outcome("A2", &figure, &all, None);
        assert_eq!((row.ours.unwrap().median, row.rounds), (40.0, 3));
        assert_eq!((row.ratio.unwrap().median, row.met), (2.0, Some(false)));
    }

    #[test]
    fn a_peer_that_was_not_run_judges_nothing() {
        let all = rounds(&[(Side::Ours, 90.0)], 3);
        let figure = RPS.peer("LiteLLM", Goal::RatioAtLeast(200.0));
        let row = outcome("A1", &figure, &all, None);
        assert_eq!(row.peer, Some(Peer::Absent("LiteLLM: not run".to_owned())));
        assert_eq!((row.ratio, row.met), (None, None));
    }

    #[test]
    fn a_failed_row_meets_nothing() {
        let all = rounds(&[(Side::Limit, 1.0), (Side::Ours, 90.0)], 3);
        let figure = RPS.limit(Goal::RatioAtLeast(0.75));
        let row = outcome("A1", &figure, &all, Some("3 frames were lost".to_owned()));
        assert_eq!((row.met, row.verdict()), (Some(false), "failed"));
    }

    #[test]
    fn other_goals_look_at_ours_or_allow_a_fixed_part() {
        let all = rounds(&[(Side::Limit, 2.0), (Side::Ours, 3.9)], 2);
        let judged = |figure: Figure| outcome("F1", &figure, &all, None).met;
        assert_eq!(
            judged(RPS.limit(Goal::RatioAtMostPlus(1.5, 1.0))),
            Some(true)
        );
        assert_eq!(
            judged(RPS.limit(Goal::RatioAtMostPlus(1.5, 0.8))),
            Some(false)
        );
        assert_eq!(judged(RPS.alone(Goal::AtMost(4.0))), Some(true));
        assert_eq!(judged(RPS.alone(Goal::Exactly(1.0))), Some(false));
        assert_eq!(judged(RPS), None);
    }
}
