//! Power of two choices.

use std::sync::Arc;

use rand::Rng;

use super::member::Member;

/// Takes two candidates at random and draws the one with fewer calls in flight.
///
/// The drawn one leaves the candidates, so that a call tries each at most once.
pub(super) fn draw(candidates: &mut Vec<Arc<Member>>) -> Option<Arc<Member>> {
    draw_by(candidates, &mut rand::rng(), |member| member.in_flight())
}

fn draw_by<T>(
    candidates: &mut Vec<T>,
    rng: &mut impl Rng,
    load: impl Fn(&T) -> usize,
) -> Option<T> {
    let count = candidates.len();
    let chosen = match count {
        0 => return None,
        1 => 0,
        _ => {
            let one = rng.random_range(0..count);
            let other = (one + rng.random_range(1..count)) % count;
            if load(&candidates[other]) < load(&candidates[one]) {
                other
            } else {
                one
            }
        }
    };
    Some(candidates.swap_remove(chosen))
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn msh_05_the_busiest_is_drawn_last() {
        let mut rng = StdRng::seed_from_u64(7);
        for _ in 0..100 {
            let mut candidates = vec![3_usize, 1, 9];
            assert_ne!(draw_by(&mut candidates, &mut rng, |load| *load), Some(9));
        }
    }

    #[test]
    fn msh_05_equal_loads_share_the_calls() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut drawn = [0_u32; 3];
        for _ in 0..3_000 {
            let first = draw_by(&mut vec![0_usize, 1, 2], &mut rng, |_| 0);
            drawn[first.unwrap()] += 1;
        }
        assert!(
            drawn.iter().all(|count| (800..1_200).contains(count)),
            "{drawn:?}"
        );
    }

    #[test]
    fn every_candidate_is_drawn_once() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut candidates = vec![5_usize, 6, 7];
        let mut drawn: Vec<usize> =
            std::iter::from_fn(|| draw_by(&mut candidates, &mut rng, |load| *load)).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, [5, 6, 7]);
    }
}
