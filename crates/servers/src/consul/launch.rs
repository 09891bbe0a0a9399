//! Configuring and launching a server.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;

use super::{Consul, Options, PROGRAM, Ports, StartError, log_file};
use crate::{
    account::Account,
    child,
    orphan::Orphan,
    start::{self, LaunchError},
};

/// What every durable server of the platform has in common, here and in containers.
const SERVER: &str = include_str!("../../../../consul/server.hcl");

/// Its own configuration; on the command line it marks the server as one of this folder.
const LOCAL: &str = "local.hcl";

/// Stops a server that an earlier run left on the same folder.
pub(super) fn clear_orphan(data: &Path) {
    Orphan {
        program: PROGRAM.name,
        pid_file: pid_file(data),
        argument: &data.join(LOCAL),
        signals: [Signal::TERM, Signal::KILL],
    }
    .clear();
}

pub(super) async fn launch(
    program: &Path,
    account: Option<Account>,
    options: &Options,
    ports: Ports,
) -> Result<Consul, StartError> {
    let data = &options.data;
    fs::create_dir_all(data).map_err(LaunchError::preparing(data))?;
    let command = prepared(program, account, options, ports)?;
    let child = start::spawn(command, program, "consul", &log_file(data)).await?;
    let server = Consul {
        options: options.clone(),
        ports,
        child,
    };
    server.ready().await?;
    Ok(server)
}

fn prepared(
    program: &Path,
    account: Option<Account>,
    options: &Options,
    ports: Ports,
) -> Result<Command, StartError> {
    let data = &options.data;
    let mut files = Vec::new();
    if options.durable {
        files.push(written(data, "server.hcl", SERVER)?);
    }
    files.push(written(data, LOCAL, &local(options)?)?);
    if let Some(account) = account {
        account.own(data).map_err(LaunchError::preparing(data))?;
    }
    let mut command = child::bound_to_us(program, "TERM", account);
    command.arg("agent").args(files.iter().flat_map(|file| {
        let flag = std::ffi::OsStr::new("-config-file");
        [flag, file.as_os_str()]
    }));
    if options.durable {
        command.arg("-data-dir").arg(data.join("state"));
    } else {
        command.arg("-dev");
    }
    command.arg("-pid-file").arg(pid_file(data));
    command.args(arguments(ports));
    Ok(command)
}

fn arguments(ports: Ports) -> Vec<String> {
    let mut arguments = vec![
        "-node=local".to_owned(),
        "-bind=127.0.0.1".to_owned(),
        "-client=127.0.0.1".to_owned(),
        "-log-level=warn".to_owned(),
        // Only proxies with certificates want it.
        "-grpc-tls-port=-1".to_owned(),
    ];
    let ports = [
        ("http", ports.http),
        ("dns", ports.dns),
        ("grpc", ports.grpc),
        ("server", ports.server),
        ("serf-lan", ports.serf_lan),
        ("serf-wan", ports.serf_wan),
    ];
    arguments.extend(ports.map(|(name, port)| format!("-{name}-port={port}")));
    arguments
}

/// What differs from server to server; a token has to be in a file, an argument is seen by all.
fn local(options: &Options) -> Result<String, StartError> {
    let acl = match &options.management_token {
        None => "acl { enabled = false }".to_owned(),
        Some(token) if is_uuid(token) => format!(
            "acl {{\n  enabled = true\n  default_policy = \"deny\"\n  \
             tokens {{\n    initial_management = \"{token}\"\n    agent = \"{token}\"\n  }}\n}}"
        ),
        Some(_) => return Err(StartError::Token),
    };
    Ok(format!("disable_update_check = true\n{acl}\n"))
}

/// Also keeps a token from being read as anything but a text.
fn is_uuid(token: &str) -> bool {
    let groups: Vec<_> = token.split('-').collect();
    let lengths: Vec<_> = groups.iter().map(|group| group.len()).collect();
    lengths == [8, 4, 4, 4, 12]
        && groups
            .iter()
            .all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn pid_file(data: &Path) -> PathBuf {
    data.join("consul.pid")
}

/// Writes a file of the configuration, for the server's eyes only.
fn written(data: &Path, name: &str, text: &str) -> Result<PathBuf, StartError> {
    let path = data.join(name);
    let write = || -> io::Result<()> {
        fs::write(&path, "")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        fs::write(&path, text)
    };
    write().map_err(LaunchError::preparing(&path))?;
    Ok(path)
}
