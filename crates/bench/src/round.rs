//! Rounds: all sides back to back in an order that rotates; those that others disturbed do not count.

mod judge;

use sutazai_cli::{generate::results::Outcome, screen::Screen};
use sutazai_proto::status::chain;

use crate::{
    failure::Failure,
    quiet::{self, Watch},
    row::{Row, Side, Values},
    stage::Stage,
};

/// One round: what each side gave.
pub type Round = Vec<(Side, Values)>;

/// Measures a row in as many rounds as were asked for and returns its figures.
pub async fn all(row: &mut dyn Row, stage: &Stage, asked: u16, screen: &Screen) -> Vec<Outcome> {
    screen.line(format!("\n{} {}", screen.bold(row.id()), row.what()));
    let mut rounds = Rounds {
        wanted: row.rounds(usize::from(asked)).max(1),
        ..Rounds::default()
    };
    let sides: Vec<Side> = row
        .sides()
        .into_iter()
        .filter(|side| stage.peers() || !matches!(side, Side::Peer(_)))
        .collect();
    let outcome = match row.prepare(stage).await {
        Ok(()) => rounds.measure(row, stage, &sides, screen).await,
        Err(failure) => Err(failure),
    };
    row.finish().await;
    let failed = outcome.err().map(|failure| chain(&failure));
    if let Some(why) = &failed {
        screen.note(&format!("{} failed: {why}", row.id()));
    }
    let figures = row.figures();
    figures
        .iter()
        .map(|figure| judge::outcome(row.id(), figure, &rounds, failed.clone()))
        .collect()
}

/// The rounds of a row so far.
#[derive(Debug, Default)]
struct Rounds {
    wanted: usize,
    counted: Vec<Round>,
    discarded: usize,
}

impl Rounds {
    async fn measure(
        &mut self,
        row: &mut dyn Row,
        stage: &Stage,
        sides: &[Side],
        screen: &Screen,
    ) -> Result<(), Failure> {
        // A machine that is never quiet gives what it can: as many again are thrown away, no more.
        while self.counted.len() < self.wanted {
            let patient = self.discarded < self.wanted;
            let calm = quiet::wait(patient).await;
            let watch = Watch::begin();
            let mut round = Vec::new();
            for side in rotated(sides, self.counted.len() + self.discarded) {
                let values = row.measure(stage, side).await?;
                screen.note(&format!("{} {side:?}: {}", row.id(), line(&values)));
                round.push((side, values));
            }
            if patient && !(calm && watch.was_undisturbed()) {
                self.discarded += 1;
            } else {
                self.counted.push(round);
            }
        }
        Ok(())
    }
}

/// Returns the sides in the order of a round: each one is first in turn.
fn rotated(sides: &[Side], round: usize) -> Vec<Side> {
    let mut order = sides.to_vec();
    if !order.is_empty() {
        order.rotate_left(round % sides.len());
    }
    order
}

fn line(values: &Values) -> String {
    use sutazai_cli::generate::results::short;

    let parts: Vec<_> = values
        .iter()
        .map(|(key, value)| format!("{key} {}", short(*value)))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_is_first_in_turn() {
        let sides = [Side::Direct, Side::Limit, Side::Ours];
        let firsts: Vec<_> = (0..4).map(|round| rotated(&sides, round)[0]).collect();
        assert_eq!(
            firsts,
            [Side::Direct, Side::Limit, Side::Ours, Side::Direct]
        );
        assert_eq!(rotated(&sides, 1), [Side::Limit, Side::Ours, Side::Direct]);
    }
}
