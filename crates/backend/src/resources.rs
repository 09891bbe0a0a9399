//! What this process takes from the machine, as Linux counts it.

use std::fs;

/// Ticks per second of the times in `/proc/<pid>/stat` (`USER_HZ`), the same on every Linux.
const TICKS_PER_SECOND: u32 = 100;

/// The resources of one process; what the system does not tell is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Resources {
    /// Memory in use, in bytes (resident set).
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) threads: Option<u64>,
    /// Processor time since the start, in seconds.
    pub(crate) cpu_seconds: Option<f64>,
    /// Open files and sockets.
    pub(crate) open_files: Option<usize>,
}

impl Resources {
    /// Reads the numbers of this process.
    pub(crate) fn read() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self {
            memory_bytes: field(&status, "VmRSS:").map(|kib| kib * 1024),
            threads: field(&status, "Threads:"),
            cpu_seconds: cpu_seconds(&stat),
            open_files: fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
        }
    }
}

/// Returns the first number of a line of `/proc/<pid>/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Adds user and system time, fields 14 and 15 of `/proc/<pid>/stat` (proc(5)).
fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the program may hold spaces and parentheses; the fields go on after the last one.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u32>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((f64::from(user) + f64::from(system)) / f64::from(TICKS_PER_SECOND))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_found() {
        let status = "Name:\tbackend\nVmRSS:\t   2048 kB\nThreads:\t7\n";
        assert_eq!(field(status, "VmRSS:"), Some(2048));
        assert_eq!(field(status, "Threads:"), Some(7));
        assert_eq!(field(status, "VmSwap:"), None);
    }

    #[test]
    fn a_program_name_does_not_shift_the_times() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds(""), None);
    }

    #[test]
    fn api_10_this_process_has_memory_and_threads() {
        let resources = Resources::read();
        assert!(
            resources
                .memory_bytes
                .is_some_and(|bytes| bytes > 1024 * 1024)
        );
        assert!(resources.threads.is_some_and(|threads| threads > 0));
        assert!(resources.open_files.is_some_and(|files| files > 0));
    }
}
