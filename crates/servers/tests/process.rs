//! Life and death of a program and of what it starts.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sutazai_servers::process::{Options, Process};

/// Longest time until a child has noted its process id, or has ended.
const LIMIT: Duration = Duration::from_secs(20);

/// Says whether a process runs; one that only nobody has reaped does not.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// Waits until something is so, and says whether it ever was.
async fn becomes(is_so: impl Fn() -> bool) -> bool {
    let give_up = Instant::now() + LIMIT;
    while !is_so() {
        if Instant::now() > give_up {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    true
}

#[tokio::test]
async fn the_children_of_a_killed_program_end_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("child");
    let noted = || std::fs::read_to_string(&note).unwrap_or_default();
    let script = format!("sleep 300 & echo $! > '{}'; exec sleep 300", note.display());
    let options = Options {
        name: "parent".to_owned(),
        program: "/bin/sh".into(),
        arguments: vec!["-c".to_owned(), script],
        environment: Vec::new(),
        log: folder.path().join("log"),
        grace: LIMIT,
    };
    let parent = Process::start(&options).await.unwrap();
    assert!(becomes(|| noted().ends_with('\n')).await);
    let child = noted().trim().to_owned();
    assert!(runs(&child));

    let pid = Pid::from_raw(parent.pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
    parent.ended().await;
    assert!(becomes(|| !runs(&child)).await, "it outlived its parent");
}
