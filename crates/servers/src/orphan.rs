//! Servers that a killed parent left behind.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

/// Longest time a left server may take to stop by itself, before it is told to stop at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Stops the PostgreSQL server that still runs on `data`, and removes a pid file that names a
/// process which is no PostgreSQL of that folder (the kernel reuses pids).
pub(crate) fn clear_postgres(data: &Path) {
    let file = data.join("postmaster.pid");
    let Some(pid) = first_pid(&file) else { return };
    if test_kill_process(pid).is_err() {
        return; // dead: the server itself removes such a file
    }
    if !is_postgres_of(pid, data) {
        let _ = fs::remove_file(&file);
        return;
    }
    tracing::warn!(
        pid = pid.as_raw_nonzero().get(),
        "stopping a postgres that an earlier run left"
    );
    // INT: disconnect clients, roll back, stop cleanly. QUIT: stop at once, recover at next start.
    for signal in [Signal::INT, Signal::QUIT] {
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

fn first_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    Pid::from_raw(text.lines().next()?.trim().parse().ok()?)
}

/// Reads the command line of a process: a server of ours has its data folder in it.
fn is_postgres_of(pid: Pid, data: &Path) -> bool {
    let Ok(line) = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())) else {
        return false;
    };
    let mut words = line.split(|byte| *byte == 0);
    let program = words.next().unwrap_or_default();
    program.ends_with(b"postgres") && words.any(|word| word == data.as_os_str().as_encoded_bytes())
}
