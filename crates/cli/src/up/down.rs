//! Stopping the platform, also what a killed supervisor left.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Error, gateway};
use crate::{
    args::DownArgs,
    screen::Screen,
    site::{
        Description,
        description::{Process, UP, UP_FOLDER},
        folder::Folder,
    },
};

/// Longest time for the supervisor to stop everything in order.
const STOP_LIMIT: Duration = Duration::from_secs(90);
/// Time for processes without a supervisor to end: they were told when it died.
const ORPHAN_LIMIT: Duration = Duration::from_secs(20);
/// Pause between two looks.
const PACE: Duration = Duration::from_millis(50);

/// Stops the platform in order; nothing of it is left.
///
/// # Errors
/// Never now; the signature is that of every command.
pub async fn command(args: DownArgs, screen: &Screen) -> Result<(), Error> {
    let folder = args.data.join(UP_FOLDER);
    let step = screen.step("stopping");
    let ran = stop(&folder).await;
    let left = clear(&folder).await;
    step.done(match (ran, left) {
        (true, _) => "drained, servers stopped",
        (false, 0) => "nothing ran",
        (false, _) => "what a killed supervisor left is gone",
    });
    Ok(())
}

/// Asks the supervisor to stop and waits for its end; says whether there was one.
pub(super) async fn stop(folder: &Path) -> bool {
    let Some(supervisor) = Folder::holder(folder) else {
        return false;
    };
    for (signal, limit) in [(Signal::TERM, STOP_LIMIT), (Signal::KILL, ORPHAN_LIMIT)] {
        send(supervisor, signal);
        let give_up = Instant::now() + limit;
        while Instant::now() < give_up {
            if Folder::holder(folder).is_none() {
                return true;
            }
            tokio::time::sleep(PACE).await;
        }
    }
    true
}

/// Ends the processes of a supervisor that is gone, and returns how many there were.
pub(super) async fn clear(folder: &Path) -> usize {
    let file = folder.join(UP);
    let Ok(description) = Description::from_file(&file) else {
        return 0;
    };
    if Folder::holder(folder).is_some() {
        return 0;
    }
    let left: Vec<Process> = description.processes.into_values().collect();
    let count = left.iter().filter(|process| process.is_alive()).count();
    for signal in [None, Some(Signal::TERM), Some(Signal::KILL)] {
        for process in left.iter().filter(|process| process.is_alive()) {
            if let Some(signal) = signal {
                send(process.pid, signal);
            }
        }
        let give_up = Instant::now() + ORPHAN_LIMIT;
        while left.iter().any(Process::is_alive) && Instant::now() < give_up {
            tokio::time::sleep(PACE).await;
        }
    }
    if let Some(container) = description.gateway.and_then(|gateway| gateway.container) {
        gateway::container::remove(&container).await;
    }
    let _ = std::fs::remove_file(file);
    count
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}
