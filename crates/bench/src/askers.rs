//! One of the processes that miss the same key of the cache at the same time.

use std::{
    convert::Infallible,
    env,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use serde::{Deserialize, Serialize};
use sutazai_persistence::{
    cache::{Cache, Namespace, Settings},
    redis::{self, Redis},
};
use sutazai_resilience::Breakers;
use tokio::time::Instant;

use crate::{failure::Failure, spread::quantile};

/// Askers in one process.
pub const ASKERS: usize = 1_000;
/// How long the origin takes.
const ORIGIN: Duration = Duration::from_millis(100);
/// Where the process finds the address of Redis; without it the cache is its own.
pub const REDIS: &str = "REDIS_URL";

const NAMESPACE: Namespace = Namespace::new("bench", Duration::from_secs(60));

/// What a process saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Seen {
    /// Calls of the origin.
    pub calls: u64,
    /// The answer of all askers: who called the origin.
    pub answer: u32,
    /// The p99 of the askers' waits, in milliseconds.
    pub wait: f64,
    /// How long the origin really took, in milliseconds; 0 where it was not called.
    pub origin: f64,
}

/// Asks at the moment that was named, and prints what was seen.
pub(crate) async fn run(key: &str, at: u64) -> Result<ExitCode, Failure> {
    let cache = match env::var(REDIS) {
        Ok(url) => {
            let redis = Redis::new(redis::Settings::new(url.into()), &Breakers::default());
            let redis = redis.map_err(|error| Failure::wrong(error.to_string()))?;
            Cache::shared(Settings::default(), redis)
        }
        Err(_) => Cache::local(Settings::default()),
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    tokio::time::sleep(Duration::from_millis(at).saturating_sub(now)).await;
    let seen = ask(cache, key).await?;
    #[expect(
        clippy::print_stdout,
        reason = "the process that started this one reads it"
    )]
    {
        println!("{}", serde_json::to_string(&seen)?);
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for a key from many tasks at once.
async fn ask(cache: Cache, key: &str) -> Result<Seen, Failure> {
    let calls = Arc::new(AtomicU64::new(0));
    let took = Arc::new(AtomicU64::new(0));
    let begun = Instant::now();
    let askers = (0..ASKERS).map(|_| {
        let (cache, calls, key) = (cache.clone(), Arc::clone(&calls), NAMESPACE.key(key));
        let took = Arc::clone(&took);
        tokio::spawn(async move {
            let load = || async move {
                calls.fetch_add(1, Ordering::Relaxed);
                let asked = Instant::now();
                tokio::time::sleep(ORIGIN).await;
                // A timer is up to 1 ms late by itself.
                let micros = u64::try_from(asked.elapsed().as_micros()).unwrap_or(u64::MAX);
                took.store(micros, Ordering::Relaxed);
                Ok::<_, Infallible>(std::process::id())
            };
            let answer = cache.get_or_load(&key, load).await;
            let wait = begun.elapsed().as_secs_f64() * 1000.0;
            answer.ok().map(|answer| (answer.value, wait))
        })
    });
    let answers = join_all(askers).await;
    let answers: Vec<_> = answers.into_iter().flatten().flatten().collect();
    let mut waits: Vec<f64> = answers.iter().map(|(_, wait)| *wait).collect();
    let first = answers.first().map(|(answer, _)| *answer);
    let same = answers.iter().all(|(answer, _)| Some(*answer) == first);
    match (first, quantile(&mut waits, 0.99)) {
        (Some(answer), Some(wait)) if same && waits.len() == ASKERS => Ok(Seen {
            calls: calls.load(Ordering::Relaxed),
            answer,
            wait,
            origin: took.load(Ordering::Relaxed) as f64 / 1000.0,
        }),
        _ => Err(Failure::wrong("askers got different answers, or none")),
    }
}
