//! A server as a child process: unprivileged, in a group of its own that ends with it, gone when its
//! parent is.

use std::{
    env, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    io::retry_on_intr,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid},
};
use tokio::sync::{oneshot, watch};

use crate::account::Account;

/// A process that we started and have not yet seen the end of.
#[derive(Debug)]
pub(crate) struct Child {
    pid: Pid,
    ended: watch::Receiver<Option<ExitStatus>>,
}

impl Child {
    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.borrow().is_some()
    }

    /// Returns when the process has ended, whoever ended it.
    pub(crate) async fn ended(&self) {
        let mut ended = self.ended.clone();
        // An error means that the watching thread is gone, and with it the process.
        let _ = ended.wait_for(Option::is_some).await;
    }

    /// Sends a signal, unless the process has ended: its pid may be somebody else's by now.
    pub(crate) fn signal(&self, signal: Signal) {
        if !self.has_ended() {
            let _ = kill_process(self.pid, signal);
        }
    }

    /// Sends one signal after the other until the process ends, each with `patience` to act.
    pub(crate) async fn stop(&self, signals: [Signal; 2], patience: Duration) {
        for signal in signals {
            if self.has_ended() {
                return;
            }
            self.signal(signal);
            let _ = tokio::time::timeout(patience, self.ended()).await;
        }
    }
}

/// Makes the command of a program that runs under `account` and inherits no working folder.
pub(crate) fn command(program: &Path, account: Option<Account>) -> Command {
    use std::os::unix::process::CommandExt;

    let mut command = Command::new(program);
    // A group of its own: Ctrl-C at the terminal reaches only us, and we stop the server last.
    command
        .stdin(Stdio::null())
        .current_dir("/")
        .process_group(0);
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// As [`command`]; where the machine has `setpriv`, the program gets `signal` (a name without `SIG`)
/// when the thread ends that spawned it.
pub(crate) fn bound_to_us(program: &Path, signal: &str, account: Option<Account>) -> Command {
    let Some(setpriv) = on_path("setpriv") else {
        return command(program, account);
    };
    let mut command = command(&setpriv, account);
    command.args(["--pdeathsig", signal]).arg(program);
    command
}

/// Runs the child on a thread of its own: the kernel sends the parent-death signal when the
/// *thread* that started the child ends, so it must not be one of a pool.
pub(crate) async fn spawn(mut command: Command, name: &str) -> io::Result<Child> {
    let (started, start) = oneshot::channel();
    let (end, ended) = watch::channel(None);
    let thread = std::thread::Builder::new().name(format!("{name}-child"));
    thread.spawn(move || match command.spawn() {
        Ok(mut child) => {
            let _ = started.send(Ok(child.id()));
            end.send_replace(Some(outlive(&mut child)));
        }
        Err(error) => {
            let _ = started.send(Err(error));
        }
    })?;
    let gone = || io::Error::other("the thread that starts the server ended");
    let pid = start.await.map_err(|_| gone())??;
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(gone)?;
    Ok(Child { pid, ended })
}

/// Waits for the end of a child and of all that it leaves in its group: a server that is killed can not
/// end its own children, and they may hold its ports.
fn outlive(child: &mut std::process::Child) -> ExitStatus {
    let group = Pid::from_child(child);
    let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    // It is reaped last: until then its id, which is that of the group, is nobody else's.
    if retry_on_intr(|| waitid(WaitId::Pid(group), ended)).is_ok() {
        let _ = kill_process_group(group, Signal::KILL);
    }
    child.wait().unwrap_or_default()
}

/// Returns a port on 127.0.0.1 that nobody listens on now.
pub(crate) fn free_port() -> io::Result<u16> {
    free_ports().map(|[port]| port)
}

/// Returns ports on 127.0.0.1, all different, that nobody listens on now.
pub(crate) fn free_ports<const COUNT: usize>() -> io::Result<[u16; COUNT]> {
    let mut ports = [0; COUNT];
    // All are held until the last is found.
    let mut held = Vec::with_capacity(COUNT);
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(ports)
}

/// Finds a program on the `PATH`.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

/// Returns the end of what a program printed, on one line.
pub(crate) fn tail(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(4)..].join(" | ")
}
