//! Servers that a killed parent left behind.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest time a left server may take to stop by itself, before it is told to stop at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to recognise and to stop a server that an earlier run may have left.
pub(crate) struct Orphan<'a> {
    /// Name of its program.
    pub(crate) program: &'static str,
    /// File whose first line is its process id.
    pub(crate) pid_file: PathBuf,
    /// Path on its command line that nobody else's server has there.
    pub(crate) argument: &'a Path,
    /// Stops it cleanly; stops it at once.
    pub(crate) signals: [Signal; 2],
}

impl Orphan<'_> {
    /// Stops the server if it still runs, and removes a pid file that names a stranger (the kernel
    /// reuses pids).
    pub(crate) fn clear(&self) {
        let Some(pid) = first_pid(&self.pid_file) else {
            return;
        };
        if test_kill_process(pid).is_err() {
            return; // dead: the server itself removes such a file
        }
        if !self.is_run_by(pid) {
            let _ = fs::remove_file(&self.pid_file);
            return;
        }
        let program = self.program;
        tracing::warn!(
            pid = pid.as_raw_nonzero().get(),
            "stopping a {program} that an earlier run left"
        );
        for signal in self.signals {
            let _ = kill_process(pid, signal);
            let give_up = Instant::now() + PATIENCE;
            while Instant::now() < give_up {
                if test_kill_process(pid).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// Reads the command line of a process: a server of ours has its own path in it.
    fn is_run_by(&self, pid: Pid) -> bool {
        let Ok(line) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else {
            return false;
        };
        let mut words = line.split(|byte| *byte == 0);
        let program = words.next().unwrap_or_default();
        let path = self.argument.as_os_str().as_encoded_bytes();
        program.ends_with(self.program.as_bytes()) && words.any(|word| word == path)
    }
}

fn first_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}
