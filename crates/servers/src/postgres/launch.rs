//! Making and launching a cluster.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use rustix::process::Signal;

use super::{Postgres, StartError};
use crate::{
    account::Account,
    child,
    orphan::Orphan,
    start::{self, LaunchError},
};

/// A cluster that is about to run.
pub(super) struct Prepared {
    pub(super) binaries: super::Binaries,
    pub(super) account: Option<Account>,
    pub(super) data: std::path::PathBuf,
    pub(super) options: super::Options,
}

impl Prepared {
    pub(super) async fn init(&self) -> Result<(), StartError> {
        let prepare = LaunchError::preparing(&self.data);
        fs::create_dir_all(&self.data).map_err(&prepare)?;
        fs::set_permissions(&self.data, fs::Permissions::from_mode(0o700)).map_err(&prepare)?;

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
                fs::write(&secret, password).map_err(&prepare)?;
                fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))
                    .map_err(&prepare)?;
                command
                    .args(["-A", "scram-sha-256"])
                    .arg("--pwfile")
                    .arg(&secret);
            }
            None => drop(command.args(["-A", "trust"])),
        }
        if let Some(account) = self.account {
            account.own(&self.data).map_err(&prepare)?;
            if secret.exists() {
                account.own(&secret).map_err(&prepare)?;
            }
        }
        let output = tokio::process::Command::from(command).output().await;
        let _ = fs::remove_file(&secret);
        let output = output.map_err(LaunchError::running(&program))?;
        if output.status.success() {
            return Ok(());
        }
        // A half-made cluster would be refused by the next start.
        let _ = fs::remove_dir_all(&self.data);
        Err(LaunchError::failed("initdb", &output.stderr).into())
    }

    /// A server that an earlier run left on the same cluster.
    pub(super) fn orphan(&self) -> Orphan<'_> {
        Orphan {
            program: "postgres",
            pid_file: self.data.join("postmaster.pid"),
            argument: &self.data,
            // INT: disconnect clients, roll back, stop cleanly. QUIT: stop at once, recover at next start.
            signals: [Signal::INT, Signal::QUIT],
        }
    }

    pub(super) async fn launch(&self) -> Result<Postgres, StartError> {
        let log = self.data.with_extension("log");
        let prepare = LaunchError::preparing(&log);
        if let Some(account) = self.account {
            account.own(&self.data).map_err(&prepare)?;
        }
        let port = match self.options.port {
            Some(port) => port,
            None => child::free_port().map_err(&prepare)?,
        };
        let command = self.server(port);
        let program = self.binaries.path("postgres");
        let child = start::spawn(command, &program, "postgres", &log).await?;
        let server = Postgres {
            binaries: self.binaries.clone(),
            data: self.data.clone(),
            password: self.options.password.clone(),
            port,
            child,
        };
        server.ready(&log).await?;
        Ok(server)
    }

    /// The server's command; SIGINT, which it gets when our thread ends, is a clean stop.
    fn server(&self, port: u16) -> Command {
        let program = self.binaries.path("postgres");
        let mut command = child::bound_to_us(&program, "INT", self.account);
        Self::environment(&mut command);
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
        command
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = child::command(program, self.account);
        Self::environment(&mut command);
        command
    }

    fn environment(command: &mut Command) {
        command
            .env_remove("PGDATA")
            .env_remove("PGPORT")
            .env("LC_ALL", "C.UTF-8");
    }
}
