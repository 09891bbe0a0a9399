//! Configuring and launching a node.

use std::{
    env, fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use super::{Options, Ports, Programs, RabbitMq, StartError, ports::text};
use crate::{
    account::Account,
    child::{self, Child},
    orphan::Orphan,
    start::{self, LaunchError},
};

/// Every node has the same name: nodes with port mappers of their own do not meet.
const NAME: &str = "rabbit@localhost";
/// Keeps Erlang's own ports off the other addresses of the machine.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1}";
/// Longest time until the port mapper listens.
const MAPPER_LIMIT: Duration = Duration::from_secs(10);

/// A node that is about to run.
#[derive(Clone, Debug)]
pub(super) struct Prepared {
    pub(super) programs: Programs,
    pub(super) account: Option<Account>,
    pub(super) data: PathBuf,
    pub(super) options: Options,
}

impl Prepared {
    pub(super) async fn launch(&self) -> Result<RabbitMq, StartError> {
        let prepare = LaunchError::preparing(&self.data);
        let ports = self.options.ports.filled().map_err(&prepare)?;
        self.clear_orphans(ports);
        self.lay_out(ports).map_err(&prepare)?;
        let mapper = self.map_ports(ports).await?;
        let output = self.data.join("output.log");
        let command = self.node(ports);
        let node = start::spawn(command, &self.programs.server(), "rabbitmq", &output).await;
        let node = node.inspect_err(|_| mapper.signal(Signal::KILL))?;
        let server = RabbitMq {
            prepared: self.clone(),
            ports,
            node,
            mapper,
        };
        self.note("node.pid", &server.node).map_err(&prepare)?;
        let ready = server.ready(&output).await;
        // It has been read, and holds the password.
        let _ = fs::remove_file(self.config_file());
        if ready.is_err() {
            server.end(Signal::KILL).await;
        }
        ready.map(|()| server)
    }

    /// Makes the command that runs `rabbitmqctl`; it proves itself by the node's cookie.
    pub(super) fn ctl(&self, ports: Ports, arguments: &[&str]) -> (PathBuf, Command) {
        let program = self.programs.ctl();
        let mut command = child::command(&program, self.account);
        self.environment(&mut command, ports);
        command
            .env("RABBITMQ_CTL_ERL_ARGS", LOOPBACK)
            .args(["--quiet", "--timeout", "20"])
            .args(arguments);
        (program, command)
    }

    pub(super) fn log_file(&self) -> PathBuf {
        self.data.join("log/rabbitmq.log")
    }

    fn config_file(&self) -> PathBuf {
        self.data.join("rabbitmq.conf")
    }

    /// Stops what an earlier run left on the same data.
    fn clear_orphans(&self, ports: Ports) {
        Orphan {
            program: "beam.smp",
            pid_file: self.data.join("node.pid"),
            argument: &self.data,
            signals: [Signal::TERM, Signal::KILL],
        }
        .clear();
        Orphan {
            program: "epmd",
            pid_file: self.data.join("epmd.pid"),
            argument: Path::new(&text(ports.epmd)),
            signals: [Signal::KILL, Signal::KILL],
        }
        .clear();
    }

    /// Makes the folder with the configuration in it, for the node's account alone.
    fn lay_out(&self, ports: Ports) -> io::Result<()> {
        for folder in ["home", "mnesia", "log"] {
            fs::create_dir_all(self.data.join(folder))?;
        }
        fs::set_permissions(&self.data, fs::Permissions::from_mode(0o700))?;
        let plugins = match ports.prometheus {
            Some(_) => "[rabbitmq_management,rabbitmq_prometheus].\n",
            None => "[rabbitmq_management].\n",
        };
        fs::write(self.data.join("enabled_plugins"), plugins)?;
        let _ = fs::remove_file(self.config_file());
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.config_file())?;
        file.write_all(self.config(ports).as_bytes())?;
        self.account
            .map_or(Ok(()), |account| account.own(&self.data))
    }

    fn config(&self, ports: Ports) -> String {
        let Options { user, password, .. } = &self.options;
        let prometheus = ports.prometheus.map_or_else(String::new, |port| {
            format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = {port}\n")
        });
        format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {}\n\
             default_user = {user}\n\
             default_pass = {password}\n\
             log.console = false\n\
             log.file = rabbitmq.log\n\
             disk_free_limit.absolute = 50MB\n\
             {prometheus}",
            text(ports.amqp),
            text(ports.management),
        )
    }

    /// Starts the port mapper in the foreground. A node that finds none starts a daemon, which
    /// would outlive us all.
    async fn map_ports(&self, ports: Ports) -> Result<Child, LaunchError> {
        let log = self.data.join("epmd.log");
        let port = ports.epmd.unwrap_or_default();
        let mut command = child::bound_to_us(self.programs.epmd(), "KILL", self.account);
        command.args(["-port", &port.to_string(), "-address", "127.0.0.1"]);
        let mapper = start::spawn(command, self.programs.epmd(), "epmd", &log).await?;
        self.note("epmd.pid", &mapper)
            .map_err(LaunchError::preparing(&log))?;
        let give_up = Instant::now() + MAPPER_LIMIT;
        while Instant::now() < give_up && !mapper.has_ended() {
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() && !mapper.has_ended() {
                return Ok(mapper);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        mapper.signal(Signal::KILL);
        let output = fs::read(&log).unwrap_or_default();
        Err(LaunchError::failed("epmd", &output))
    }

    /// Makes the node's command; SIGTERM, which it gets when our thread ends, is a clean stop.
    fn node(&self, ports: Ports) -> Command {
        let mut command = child::bound_to_us(&self.programs.server(), "TERM", self.account);
        self.environment(&mut command, ports);
        command
            // Makes the script become the node, so that the child is the node itself.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            // Not a flag of Erlang's: by it a later run recognises what this one left.
            .arg("-sutazai_data")
            .arg(&self.data);
        command
    }

    /// Sets all that RabbitMQ's scripts read: nothing of ours reaches them by accident.
    fn environment(&self, command: &mut Command, ports: Ports) {
        command.env_clear();
        for (name, value) in [
            ("RABBITMQ_NODENAME", NAME),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", LOOPBACK),
            ("ERL_EPMD_ADDRESS", "127.0.0.1"),
            ("ERL_EPMD_PORT", &text(ports.epmd)),
            ("RABBITMQ_DIST_PORT", &text(ports.distribution)),
            ("LANG", "C.UTF-8"),
        ] {
            command.env(name, value);
        }
        for (name, below) in [
            ("HOME", "home"),
            ("RABBITMQ_MNESIA_BASE", "mnesia"),
            ("RABBITMQ_LOG_BASE", "log"),
            ("RABBITMQ_CONFIG_FILE", "rabbitmq"),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", "enabled_plugins"),
            // Those of the machine are not ours to read.
            ("RABBITMQ_CONF_ENV_FILE", "none"),
        ] {
            command.env(name, self.data.join(below));
        }
        command.env("PATH", env::var_os("PATH").unwrap_or_default());
    }

    /// Writes down what to stop should this process be killed.
    fn note(&self, file: &str, child: &Child) -> io::Result<()> {
        fs::write(self.data.join(file), format!("{}\n", child.pid()))
    }
}
