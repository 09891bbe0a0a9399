//! Who is killed, and when.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use sutazai_cli::site::description::State;
use system_tests::platform::{Platform, within};

use crate::worker::{self, Worker};

/// Who dies in every round, as R1 has it: a fifth each for broker and database, a tenth for the
/// cache. Of the ten places of the services, Consul takes one and the loop's own worker two.
const FIXED: [&str; 13] = [
    "rabbitmq",
    "rabbitmq",
    "rabbitmq",
    "rabbitmq",
    "postgres",
    "postgres",
    "postgres",
    "postgres",
    "redis",
    "redis",
    "consul",
    worker::NAME,
    worker::NAME,
];
/// Kills of one round.
const ROUND: usize = 20;
/// Pause before a kill, in milliseconds: many come while the platform still recovers.
const PAUSE: std::ops::Range<u64> = 200..5_000;

/// One process that was killed.
pub(crate) struct Kill {
    pub(crate) name: String,
    pub(crate) at: Instant,
}

/// Draws processes of one platform and kills them.
pub(crate) struct Victims<'a> {
    platform: &'a Platform,
    worker: Worker,
    /// The names of all processes of services.
    services: Vec<String>,
    random: StdRng,
    /// What is left of this round.
    left: Vec<String>,
}

impl<'a> Victims<'a> {
    pub(crate) fn new(platform: &'a Platform, worker: Worker, seed: u64) -> Self {
        let processes = platform.description().processes;
        let is_server = |name: &String| FIXED.contains(&name.as_str());
        Self {
            platform,
            worker,
            services: processes
                .into_keys()
                .filter(|name| !is_server(name))
                .collect(),
            random: StdRng::seed_from_u64(seed),
            left: Vec::new(),
        }
    }

    /// Kills one process after a pause, and returns once its successor runs.
    pub(crate) async fn kill_one(&mut self) -> Kill {
        let pause = Duration::from_millis(self.random.random_range(PAUSE));
        tokio::time::sleep(pause).await;
        if self.left.is_empty() {
            self.left = self.round();
        }
        let name = self.left.pop().expect("a name");
        if name == worker::NAME {
            let at = Instant::now();
            self.worker.kill().await;
            return Kill { name, at };
        }
        let old = self.platform.signal(&name, Signal::KILL);
        let at = Instant::now();
        within(&format!("another process of {name}"), async || {
            let now = *self.platform.description().processes.get(&name)?;
            let runs = now.state == State::Running && now.is_alive();
            (runs && now.pid != old.pid).then_some(())
        })
        .await;
        Kill { name, at }
    }

    fn round(&mut self) -> Vec<String> {
        let mut services = self.services.clone();
        services.shuffle(&mut self.random);
        let fixed = FIXED.map(str::to_owned).into_iter();
        let mut round: Vec<String> = fixed.chain(services).take(ROUND).collect();
        round.shuffle(&mut self.random);
        round
    }
}
