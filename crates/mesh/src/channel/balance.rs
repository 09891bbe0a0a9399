//! Which of the live instances gets a call.

use std::{collections::BTreeMap, fmt, str::FromStr};

use rand::Rng;

use crate::catalog::ServiceName;

/// How the instance of a call is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Two at random, and of them the one with fewer calls in flight for its weight.
    #[default]
    PowerOfTwo,
    /// One after the other.
    RoundRobin,
    /// At random, as often as the weight says.
    Weighted,
    /// At random.
    Random,
    /// The same one for the same routing key, as long as it lives; by `PowerOfTwo` without a key.
    ConsistentHash,
}

/// The strategies by service, for those that do not have the default.
///
/// As text: `task-coordinator=round_robin,ollama-proxy=consistent_hash`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strategies(BTreeMap<ServiceName, Strategy>);

/// The text is no [`Strategies`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not `service=strategy` with one of power_of_two, round_robin, weighted, random, consistent_hash"
)]
pub struct InvalidStrategies(String);

/// What is known of an instance when it may be chosen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) id: &'a str,
    /// Calls in flight.
    pub(super) load: usize,
    pub(super) weight: u32,
}

/// What is known of the call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn<'a> {
    /// Number of the call on its edge.
    pub(super) number: usize,
    /// Calls with the same key should meet the same instance.
    pub(super) key: Option<&'a [u8]>,
}

impl Strategy {
    const ALL: [Self; 5] = [
        Self::PowerOfTwo,
        Self::RoundRobin,
        Self::Weighted,
        Self::Random,
        Self::ConsistentHash,
    ];

    /// Returns the stable snake_case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PowerOfTwo => "power_of_two",
            Self::RoundRobin => "round_robin",
            Self::Weighted => "weighted",
            Self::Random => "random",
            Self::ConsistentHash => "consistent_hash",
        }
    }

    /// Chooses one of the candidates and returns where it stands; nothing when there are none.
    pub(super) fn choose(
        self,
        candidates: &[Facts<'_>],
        turn: Turn<'_>,
        rng: &mut impl Rng,
    ) -> Option<usize> {
        let count = candidates.len();
        if count < 2 {
            return (count == 1).then_some(0);
        }
        Some(match (self, turn.key) {
            (Self::RoundRobin, _) => turn.number % count,
            (Self::Random, _) => rng.random_range(0..count),
            (Self::Weighted, _) => weighted(candidates, rng),
            (Self::ConsistentHash, Some(key)) => rendezvous(candidates, key),
            (Self::PowerOfTwo, _) | (Self::ConsistentHash, None) => less_busy(candidates, rng),
        })
    }
}

fn less_busy(candidates: &[Facts<'_>], rng: &mut impl Rng) -> usize {
    let count = candidates.len();
    let one = rng.random_range(0..count);
    let other = (one + rng.random_range(1..count)) % count;
    // With the call that is to come; compared as fractions without dividing.
    let share = |at: usize, by: usize| {
        let load = u64::try_from(candidates[at].load).unwrap_or(u64::MAX);
        load.saturating_add(1)
            .saturating_mul(u64::from(candidates[by].weight))
    };
    if share(other, one) < share(one, other) {
        other
    } else {
        one
    }
}

fn weighted(candidates: &[Facts<'_>], rng: &mut impl Rng) -> usize {
    let total: u64 = candidates.iter().map(|one| u64::from(one.weight)).sum();
    let mut left = rng.random_range(0..total.max(1));
    candidates
        .iter()
        .position(|one| {
            let weight = u64::from(one.weight);
            let found = left < weight;
            left = left.saturating_sub(weight);
            found
        })
        .unwrap_or_default()
}

/// Highest random weight: each instance draws for the key, the best draw wins. Who leaves takes only
/// its own keys along.
fn rendezvous(candidates: &[Facts<'_>], key: &[u8]) -> usize {
    let draws = candidates.iter().map(|one| {
        let top = u32::try_from(hash(key, one.id.as_bytes()) >> 32).unwrap_or(u32::MAX);
        // Half a step keeps it off 0 and 1, where the logarithm has no use.
        let drawn = (f64::from(top) + 0.5) / 4_294_967_296.0;
        f64::from(one.weight) / -drawn.ln()
    });
    let best = draws
        .enumerate()
        .max_by(|(_, one), (_, other)| one.total_cmp(other));
    best.map_or(0, |(at, _)| at)
}

/// FNV-1a with the finisher of MurmurHash3: the same in every process, whatever it was built with.
fn hash(key: &[u8], id: &[u8]) -> u64 {
    let bytes = key.iter().chain(&[0]).chain(id);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

impl Strategies {
    /// Returns the strategy of a service.
    pub fn of(&self, service: ServiceName) -> Strategy {
        self.0.get(&service).copied().unwrap_or_default()
    }

    /// Gives a service a strategy.
    #[must_use]
    pub fn with(mut self, service: ServiceName, strategy: Strategy) -> Self {
        self.0.insert(service, strategy);
        self
    }
}

impl FromStr for Strategies {
    type Err = InvalidStrategies;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rows = text.split(',').map(str::trim).filter(|row| !row.is_empty());
        rows.map(|row| parse(row).ok_or_else(|| InvalidStrategies(row.to_owned())))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

fn parse(row: &str) -> Option<(ServiceName, Strategy)> {
    let (service, name) = row.split_once('=')?;
    let mut strategies = Strategy::ALL.into_iter();
    let strategy = strategies.find(|strategy| strategy.as_str() == name.trim())?;
    Some((service.trim().parse().ok()?, strategy))
}

impl fmt::Display for Strategies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (service, strategy)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{service}={}", strategy.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
