//! Stopping the platform, also what a killed supervisor left.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

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
    let processes = description.processes.into_values();
    let left: Vec<Process> = processes.filter(Process::is_alive).collect();
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
    // One that was killed could not end its own children, and they may hold its ports.
    for process in left.iter().filter(|process| process.is_gone()) {
        kill_group(process.pid);
    }
    if let Some(container) = description.gateway.and_then(|gateway| gateway.container) {
        gateway::container::remove(&container).await;
    }
    let _ = std::fs::remove_file(file);
    left.len()
}

fn send(pid: u32, signal: Signal) {
    if let Some(pid) = known(pid) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills what is left of a group; all that the supervisor starts lead one.
fn kill_group(leader: u32) {
    if let Some(group) = known(leader) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

fn known(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::process::CommandExt,
        process::{Command, Stdio},
    };

    use super::*;

    /// Longest time until a child has noted its process id, or has ended.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Waits until something is so, and says whether it ever was.
    async fn becomes(is_so: impl Fn() -> bool) -> bool {
        let give_up = Instant::now() + LIMIT;
        while !is_so() {
            if Instant::now() > give_up {
                return false;
            }
            tokio::time::sleep(PACE).await;
        }
        true
    }

    #[tokio::test]
    async fn children_of_what_a_killed_supervisor_left_are_ended_too() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("child");
        let noted = || fs::read_to_string(&note).unwrap_or_default();
        let script = format!("sleep 300 & echo $! > '{}'; exec sleep 300", note.display());
        let mut parent = Command::new("sh")
            .args(["-c", &script])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        assert!(becomes(|| noted().ends_with('\n')).await);
        let child = Process::running(noted().trim().parse().unwrap(), 0);
        assert!(child.is_alive());
        let pid = parent.id();
        let file = |name: &str| folder.path().join(name);
        let told = serde_json::json!({
            "api": "", "api_key_file": file("key"), "models": "", "pid": 0, "version": "", "services": {},
            "nodes": [], "demo": false, "postgres_port": 0, "postgres_pid": 0,
            "keys": file("keys"), "jwks_file": file("jwks.json"),
            "processes": {"kong": Process::running(pid, 0)},
        });
        let description: Description = serde_json::from_value(told).unwrap();
        description.write(&file(UP)).unwrap();

        // Somebody kills it; nobody watches over it any more.
        let end = async {
            tokio::time::sleep(PACE).await;
            send(pid, Signal::KILL);
        };
        let (left, ()) = tokio::join!(clear(folder.path()), end);
        parent.wait().unwrap();
        assert_eq!(left, 1);
        assert!(
            becomes(|| !child.is_alive()).await,
            "it outlived its parent"
        );
    }
}
