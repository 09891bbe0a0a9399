//! Quantiles of latencies, and the least, middle and greatest of rounds.

use sutazai_cli::generate::results::Spread;

/// Returns the value below which the share `quantile` of all lies; sorts what it is given.
pub fn quantile(values: &mut [f64], quantile: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    // The position is between 0 and the last index.
    let at = (quantile.clamp(0.0, 1.0) * last as f64).round();
    values.get(index(at)).copied()
}

/// Returns the spread of the rounds; none when there were none.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
    let mut values: Vec<f64> = values.into_iter().collect();
    let min = quantile(&mut values, 0.0)?;
    let max = quantile(&mut values, 1.0)?;
    let half = values.len() / 2;
    let median = if values.len() % 2 == 1 {
        values[half]
    } else {
        f64::midpoint(values[half - 1], values[half])
    };
    Some(Spread { min, median, max })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position in a slice, rounded and not below 0"
)]
fn index(at: f64) -> usize {
    at as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_seen() {
        let mut values: Vec<f64> = (1..=101).rev().map(f64::from).collect();
        for (share, expected) in [(0.0, 1.0), (0.5, 51.0), (0.99, 100.0), (1.0, 101.0)] {
            assert_eq!(quantile(&mut values, share), Some(expected));
        }
        assert_eq!(quantile(&mut [], 0.5), None);
    }

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        let spread = spread([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(super::spread([]), None);
        let odd = super::spread([3.0, 9.0, 5.0]).unwrap();
        assert_eq!((odd.min, odd.median), (3.0, 5.0));
    }
}
