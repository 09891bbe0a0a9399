//! Making and launching a cluster.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, ExitStatus, Stdio},
};

use rustix::process::Pid;
use tokio::sync::{oneshot, watch};

use super::{Postgres, StartError, binaries, tail};
use crate::account::Account;

/// A cluster that is about to run.
pub(super) struct Prepared {
    pub(super) binaries: super::Binaries,
    pub(super) account: Option<Account>,
    pub(super) data: std::path::PathBuf,
    pub(super) options: super::Options,
}

impl Prepared {
    pub(super) async fn init(&self) -> Result<(), StartError> {
        let prepare = |source| StartError::Prepare {
            path: self.data.clone(),
            source,
        };
        fs::create_dir_all(&self.data).map_err(prepare)?;
        fs::set_permissions(&self.data, fs::Permissions::from_mode(0o700)).map_err(prepare)?;

        let program = self.binaries.path("initdb");
        let mut command = self.command(&program);
        command.arg("-D").arg(&self.data);
        command.args([
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        let secret = self.data.with_extension("initial-password");
        match &self.options.password {
            Some(password) => {
                fs::write(&secret, password).map_err(prepare)?;
                fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).map_err(prepare)?;
                command
                    .args(["-A", "scram-sha-256"])
                    .arg("--pwfile")
                    .arg(&secret);
            }
            None => drop(command.args(["-A", "trust"])),
        }
        if let Some(account) = self.account {
            account.own(&self.data).map_err(prepare)?;
            if secret.exists() {
                account.own(&secret).map_err(prepare)?;
            }
        }
        let output = tokio::process::Command::from(command).output().await;
        let _ = fs::remove_file(&secret);
        let output = output.map_err(|source| StartError::Run { program, source })?;
        if output.status.success() {
            return Ok(());
        }
        // A half-made cluster would be refused by the next start.
        let _ = fs::remove_dir_all(&self.data);
        Err(StartError::Failed {
            program: "initdb",
            output: tail(&output.stderr),
        })
    }

    pub(super) async fn launch(&self) -> Result<Postgres, StartError> {
        let log = self.data.with_extension("log");
        let prepare = |source| StartError::Prepare {
            path: log.clone(),
            source,
        };
        if let Some(account) = self.account {
            account.own(&self.data).map_err(prepare)?;
        }
        let port = match self.options.port {
            Some(port) => port,
            None => free_port().map_err(prepare)?,
        };
        let output = fs::File::create(&log).map_err(prepare)?;
        let command = self.server(port, output).map_err(prepare)?;
        let program = self.binaries.path("postgres");
        let (pid, ended) = watch_child(command)
            .await
            .map_err(|source| StartError::Run { program, source })?;
        let server = Postgres {
            binaries: self.binaries.clone(),
            data: self.data.clone(),
            password: self.options.password.clone(),
            port,
            pid,
            ended,
        };
        server.ready(&log).await?;
        Ok(server)
    }

    /// The server's command; with `setpriv` it gets SIGINT, a clean stop, when our thread ends.
    fn server(&self, port: u16, log: fs::File) -> io::Result<Command> {
        let postgres = self.binaries.path("postgres");
        let mut command = match binaries::on_path("setpriv") {
            Some(setpriv) => {
                let mut command = self.command(&setpriv);
                command.args(["--pdeathsig", "INT"]).arg(&postgres);
                command
            }
            None => self.command(&postgres),
        };
        command
            .arg("-D")
            .arg(&self.data)
            .arg("-p")
            .arg(port.to_string());
        let on = if self.options.durable { "on" } else { "off" };
        for setting in [
            "listen_addresses=127.0.0.1",
            // No socket: its path may be too long for the kernel, and a stale one would be in the way.
            "unix_socket_directories=",
            "max_connections=100",
            "shared_buffers=16MB",
            "dynamic_shared_memory_type=posix",
            "logging_collector=off",
            &format!("fsync={on}"),
            &format!("synchronous_commit={on}"),
            &format!("full_page_writes={on}"),
        ] {
            command.arg("-c").arg(setting);
        }
        command.stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }

    fn command(&self, program: &Path) -> Command {
        use std::os::unix::process::CommandExt;

        let mut command = Command::new(program);
        // A group of its own: Ctrl-C at the terminal reaches only us, and we stop the server last.
        command
            .stdin(Stdio::null())
            .current_dir("/")
            .process_group(0);
        command
            .env_remove("PGDATA")
            .env_remove("PGPORT")
            .env("LC_ALL", "C.UTF-8");
        if let Some(account) = self.account {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }
}

/// Runs the child on a thread of its own: the kernel sends the parent-death signal when the
/// *thread* that started the child ends, so it must not be one of a pool.
async fn watch_child(
    mut command: Command,
) -> io::Result<(Pid, watch::Receiver<Option<ExitStatus>>)> {
    let (started, start) = oneshot::channel();
    let (ended, end) = watch::channel(None);
    let thread = std::thread::Builder::new().name("postgres-child".to_owned());
    thread.spawn(move || match command.spawn() {
        Ok(mut child) => {
            let _ = started.send(Ok(child.id()));
            ended.send_replace(Some(child.wait().unwrap_or_default()));
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
    Ok((pid, end))
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
