//! Whether others use the machine: a canary before a round, stolen time during it.

use std::{
    fs,
    time::{Duration, Instant},
};

/// Sleeps of the canary before a round.
const SLEEPS: u32 = 200;
const SLEEP: Duration = Duration::from_millis(1);
/// A canary that wakes so much late was kept waiting.
const LATE: Duration = Duration::from_millis(2);
/// How often it may be late.
const MAY_BE_LATE: u32 = 3;
/// Share of the canary's time in which something waited for a core, at most.
const PRESSURE: f64 = 0.05;
/// Share of a round that other machines may take.
const STEAL: f64 = 0.01;
/// Longest wait for a quiet moment; what follows then does not count.
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits for a quiet moment and says whether one came.
pub async fn wait(patient: bool) -> bool {
    let begun = Instant::now();
    loop {
        if is_quiet().await {
            return true;
        }
        if !patient || begun.elapsed() > PATIENCE {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The kernel's averages still hold our own last round, so the canary's own time is looked at.
async fn is_quiet() -> bool {
    let (begun, before) = (Instant::now(), waited());
    let mut late = 0;
    for _ in 0..SLEEPS {
        let asleep = Instant::now();
        tokio::time::sleep(SLEEP).await;
        // A timer of the runtime is up to 1 ms late by itself.
        late += u32::from(asleep.elapsed() > SLEEP + SLEEP + LATE);
    }
    let share = match (before, waited()) {
        (Some(before), Some(after)) => {
            Duration::from_micros(after.saturating_sub(before)).as_secs_f64()
                / begun.elapsed().as_secs_f64()
        }
        // A kernel without pressure information: the canary alone has to tell.
        _ => 0.0,
    };
    late <= MAY_BE_LATE && share < PRESSURE
}

/// Microseconds since boot in which something waited for a core.
fn waited() -> Option<u64> {
    let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
    total(&text)
}

fn total(pressure: &str) -> Option<u64> {
    let some = pressure.lines().find(|line| line.starts_with("some "))?;
    some.rsplit_once("total=")?.1.trim().parse().ok()
}

/// Watches what other machines take during a round.
#[derive(Debug)]
pub struct Watch(Option<Ticks>);

impl Watch {
    /// Begins to watch.
    pub fn begin() -> Self {
        Self(Ticks::now())
    }

    /// Says whether the machine had its cores for itself since then.
    pub fn was_undisturbed(&self) -> bool {
        let (Some(before), Some(after)) = (&self.0, Ticks::now()) else {
            return true;
        };
        let all = after.all.saturating_sub(before.all);
        let stolen = after.stolen.saturating_sub(before.stolen);
        all == 0 || (stolen as f64) < STEAL * all as f64
    }
}

/// Time of all cores since boot.
#[derive(Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Ticks {
    fn now() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/stat").ok()?)
    }

    /// user nice system idle iowait irq softirq steal
    fn parse(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let fields: Vec<u64> = line
            .split_whitespace()
            .map_while(|field| field.parse().ok())
            .collect();
        Some(Self {
            all: fields.iter().take(8).sum(),
            stolen: *fields.get(7)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_files_are_read() {
        let pressure =
            "some avg10=0.00 avg60=0.10 avg300=0.20 total=717175023\nfull avg10=0.00 total=9\n";
        assert_eq!(total(pressure), Some(717_175_023));
        assert_eq!(total(""), None);
        let ticks = Ticks::parse("cpu  10 1 5 80 1 0 1 2 0 0\ncpu0 1 1\n");
        assert_eq!(
            ticks,
            Some(Ticks {
                all: 100,
                stolen: 2
            })
        );
    }
}
