//! How much memory a Kong may take, from its settings alone.
//!
//! The weights of processes come from a Kong 3.9.1 that was measured: with one worker, the eight
//! plugins of ours and `mem_cache_size = 16m` the worker takes 71 MiB and the master 25; with all 45
//! plugins 145 and 45. What traffic can fill is counted as full. What one connection takes is an
//! assumption.

use serde::Serialize;

use super::Fault;
use crate::kong::conf::Conf;

/// What Kong may take, in MiB.
pub const LIMIT: u64 = 160;

const MEBIBYTE: u64 = 1024;
/// Plugins that Kong loads where the settings name none.
const BUNDLED: u64 = 45;
/// KiB of the master: for itself, and for each plugin.
const MASTER: (u64, u64) = (21_176, 553);
/// KiB of each worker: for itself, and for each plugin.
const WORKER: (u64, u64) = (56_320, 2_048);
/// KiB of `mem_cache_size` that the measured worker had.
const MEASURED_CACHE: u64 = 16 * MEBIBYTE;
/// Caches of `mem_cache_size`.
const CACHES: u64 = 2;
/// MiB of the shared dictionaries that fill with traffic: counters of rates, keys that were asked
/// for and not found, series of Prometheus.
const FILLED: u64 = 12 + 12 + 5;
/// KiB of one connection that is in use: its buffers, and half the context of the request that
/// needs two of them.
const CONNECTION: u64 = 10;

/// Memory that a Kong may take, in KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// The master process.
    pub master: u64,
    /// All workers.
    pub workers: u64,
    /// Caches beyond those of the measured worker.
    pub caches: u64,
    /// Shared dictionaries that fill with traffic.
    pub dictionaries: u64,
    /// All connections.
    pub connections: u64,
}

impl Budget {
    /// Counts what a Kong of these settings may take.
    ///
    /// # Errors
    /// [`Fault::NoSize`] when a setting leaves the amount to the machine.
    pub fn of(conf: &Conf) -> Result<Self, Fault> {
        let workers = number(conf, "nginx_worker_processes", "auto")?;
        let connections = number(conf, "nginx_events_worker_connections", "auto")?;
        let cache = size(conf, "mem_cache_size", "128m")?;
        let plugins = conf.plugins().map_or(BUNDLED, |names| names.len() as u64);
        Ok(Self {
            master: MASTER.0 + MASTER.1 * plugins,
            workers: workers * (WORKER.0 + WORKER.1 * plugins),
            caches: CACHES * cache.saturating_sub(MEASURED_CACHE),
            dictionaries: FILLED * MEBIBYTE,
            connections: workers * connections * CONNECTION,
        })
    }

    /// Returns the sum in MiB, rounded up.
    pub fn mebibytes(&self) -> u64 {
        let parts = [
            self.master,
            self.workers,
            self.caches,
            self.dictionaries,
            self.connections,
        ];
        parts.iter().sum::<u64>().div_ceil(MEBIBYTE)
    }
}

pub(super) fn faults(conf: &Conf) -> Vec<Fault> {
    match Budget::of(conf) {
        Ok(budget) if budget.mebibytes() > LIMIT => vec![Fault::Memory {
            mebibytes: budget.mebibytes(),
            limit: LIMIT,
        }],
        Ok(_) => Vec::new(),
        Err(fault) => vec![fault],
    }
}

fn number(conf: &Conf, setting: &'static str, default: &str) -> Result<u64, Fault> {
    let value = conf.get(setting).unwrap_or(default);
    value.parse().map_err(|_| no_size(setting, value))
}

/// Reads a size of nginx, in KiB.
fn size(conf: &Conf, setting: &'static str, default: &str) -> Result<u64, Fault> {
    let value = conf.get(setting).unwrap_or(default);
    let (digits, factor) = match value.char_indices().next_back() {
        Some((at, 'k' | 'K')) => (&value[..at], 1),
        Some((at, 'm' | 'M')) => (&value[..at], MEBIBYTE),
        _ => return Err(no_size(setting, value)),
    };
    let count: u64 = digits.parse().map_err(|_| no_size(setting, value))?;
    Ok(count * factor)
}

fn no_size(setting: &'static str, value: &str) -> Fault {
    Fault::NoSize {
        setting,
        value: value.to_owned(),
    }
}
