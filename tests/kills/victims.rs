//! Who is killed, and when.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};
use rustix::process::Signal;
use sutazai_cli::site::description::State;
use system_tests::platform::{Platform, within};

/// The share of the servers in every round, as R1 has it: a fifth each for broker and database, a
/// tenth for the cache. Consul takes one of the ten places of the services.
const SERVERS: [&str; 11] = [
    "rabbitmq", "rabbitmq", "rabbitmq", "rabbitmq", "postgres", "postgres", "postgres", "postgres",
    "redis", "redis", "consul",
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
    /// The names of all processes of services.
    services: Vec<String>,
    random: StdRng,
    /// What is left of this round.
    left: Vec<String>,
}

impl<'a> Victims<'a> {
    pub(crate) fn new(platform: &'a Platform, seed: u64) -> Self {
        let processes = platform.description().processes;
        let is_server = |name: &String| SERVERS.contains(&name.as_str());
        Self {
            platform,
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
        let servers = SERVERS.map(str::to_owned).into_iter();
        let mut round: Vec<String> = servers.chain(services).take(ROUND).collect();
        round.shuffle(&mut self.random);
        round
    }
}
