//! A process that stands still.

use rustix::process::{Pid, Signal, kill_process};

/// A process that was told to stand still; it goes on when this is dropped.
pub struct Still(Pid);

impl Still {
    /// Lets a process stand still.
    pub fn stop(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let pid = pid.expect("a pid");
        kill_process(pid, Signal::STOP).expect("the process runs");
        Self(pid)
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        // Whoever else killed it meanwhile has its own complaint.
        let _ = kill_process(self.0, Signal::CONT);
    }
}
