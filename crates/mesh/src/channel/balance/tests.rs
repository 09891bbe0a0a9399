//! The five strategies, without a network.

use rand::{SeedableRng, rngs::StdRng};

use super::*;

const IDS: [&str; 4] = ["a-1", "b-2", "c-3", "d-4"];

fn facts(loads: &[usize], weights: &[u32]) -> Vec<Facts<'static>> {
    let rows = loads.iter().zip(weights).zip(IDS);
    rows.map(|((load, weight), id)| Facts {
        id,
        load: *load,
        weight: *weight,
    })
    .collect()
}

/// Counts how often each candidate is chosen.
fn drawn(strategy: Strategy, candidates: &[Facts<'_>], calls: usize) -> Vec<usize> {
    let mut rng = StdRng::seed_from_u64(7);
    let mut drawn = vec![0; candidates.len()];
    for number in 0..calls {
        let turn = Turn { number, key: None };
        drawn[strategy.choose(candidates, turn, &mut rng).unwrap()] += 1;
    }
    drawn
}

#[test]
fn msh_05_the_busiest_is_never_chosen_of_two() {
    let drawn = drawn(Strategy::PowerOfTwo, &facts(&[3, 1, 9], &[1, 1, 1]), 300);
    assert_eq!(drawn[2], 0);
}

#[test]
fn msh_05_equal_loads_share_the_calls() {
    for strategy in [
        Strategy::PowerOfTwo,
        Strategy::Random,
        Strategy::Weighted,
        Strategy::RoundRobin,
    ] {
        let drawn = drawn(strategy, &facts(&[0, 0, 0], &[1, 1, 1]), 3_000);
        assert!(
            drawn.iter().all(|count| (800..1_200).contains(count)),
            "{strategy:?} {drawn:?}"
        );
    }
}

#[test]
fn msh_05_round_robin_takes_one_after_the_other() {
    let drawn = drawn(
        Strategy::RoundRobin,
        &facts(&[9, 0, 3, 1], &[1, 1, 1, 1]),
        400,
    );
    assert_eq!(drawn, [100; 4]);
}

#[test]
fn msh_05_weights_divide_the_calls() {
    let by_weight = drawn(Strategy::Weighted, &facts(&[0, 0], &[1, 3]), 4_000);
    assert!((2_800..3_200).contains(&by_weight[1]), "{by_weight:?}");
    // Three times the weight carries three times the load before the other is taken.
    let even = facts(&[1, 4], &[1, 3]);
    assert_eq!(drawn(Strategy::PowerOfTwo, &even, 100), [0, 100]);
    let full = facts(&[1, 6], &[1, 3]);
    assert_eq!(drawn(Strategy::PowerOfTwo, &full, 100), [100, 0]);
}

#[test]
fn msh_05_a_key_keeps_its_instance_when_another_leaves() {
    let mut rng = StdRng::seed_from_u64(7);
    let all = facts(&[0; 4], &[1; 4]);
    let mut shares = [0_usize; 4];
    for key in 0..1_000_u32 {
        let key = key.to_be_bytes();
        let turn = Turn {
            number: 0,
            key: Some(&key),
        };
        let mut of = |candidates: &[Facts<'_>]| {
            let at = Strategy::ConsistentHash.choose(candidates, turn, &mut rng);
            candidates[at.unwrap()].id.to_owned()
        };
        let (first, again) = (of(&all), of(&all));
        assert_eq!(first, again);
        shares[IDS.iter().position(|id| *id == first).unwrap()] += 1;
        let without_last = of(&all[..3]);
        if first != IDS[3] {
            assert_eq!(without_last, first, "it lost its instance without need");
        }
    }
    assert!(
        shares.iter().all(|share| (180..320).contains(share)),
        "{shares:?}"
    );
}

#[test]
fn msh_05_without_a_key_the_less_busy_is_taken() {
    let busy = facts(&[5, 0], &[1, 1]);
    assert_eq!(drawn(Strategy::ConsistentHash, &busy, 50), [0, 50]);
}

#[test]
fn one_candidate_is_chosen_and_none_is_not() {
    let mut rng = StdRng::seed_from_u64(7);
    for strategy in Strategy::ALL {
        let turn = Turn {
            number: 5,
            key: Some(b"k"),
        };
        assert_eq!(strategy.choose(&facts(&[7], &[1]), turn, &mut rng), Some(0));
        assert_eq!(strategy.choose(&[], turn, &mut rng), None);
    }
}

#[test]
fn msh_05_strategies_are_set_by_service() {
    let text = "task-coordinator=round_robin,ollama-proxy=consistent_hash";
    let strategies: Strategies = text.parse().unwrap();
    assert_eq!(
        strategies.of(ServiceName::TaskCoordinator),
        Strategy::RoundRobin
    );
    assert_eq!(strategies.of(ServiceName::Backend), Strategy::PowerOfTwo);
    let written = strategies.to_string();
    assert_eq!(written.parse(), Ok(strategies));
    assert_eq!("".parse(), Ok(Strategies::default()));
    for wrong in [
        "moon=random",
        "backend=fastest",
        "backend",
        "=",
        "backend=random=x",
    ] {
        assert_eq!(
            wrong.parse::<Strategies>(),
            Err(InvalidStrategies(wrong.to_owned()))
        );
    }
}
