//! Configuring and launching a Redis.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    net::Ipv4Addr,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::PathBuf,
    time::Duration,
};

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{Options, PROGRAM, Redis, StartError};
use crate::{
    account::Account,
    child,
    orphan::Orphan,
    start::{self, LaunchError},
};

/// Longest wait for the answer to one `PING`.
const PING_LIMIT: Duration = Duration::from_secs(1);

/// A server that is about to run.
pub(super) struct Prepared {
    pub(super) program: PathBuf,
    pub(super) account: Option<Account>,
    pub(super) data: PathBuf,
    pub(super) options: Options,
}

impl Prepared {
    /// Stops a server that an earlier run left on the same data.
    pub(super) fn clear_orphan(&self) {
        Orphan {
            program: PROGRAM,
            pid_file: self.pid_file(),
            argument: &self.config_file(),
            signals: [Signal::TERM, Signal::KILL],
        }
        .clear();
    }

    pub(super) async fn launch(&self) -> Result<Redis, StartError> {
        let log = self.data.with_extension("log");
        let prepare = LaunchError::preparing(&self.data);
        let port = match self.options.port {
            Some(port) => port,
            None => child::free_port().map_err(&prepare)?,
        };
        self.lay_out(port).map_err(prepare)?;
        let mut command = child::bound_to_us(&self.program, "TERM", self.account);
        command.arg(self.config_file());
        let child = start::spawn(command, &self.program, "redis", &log).await?;
        let server = Redis {
            data: self.data.clone(),
            password: self.options.password.clone(),
            port,
            child,
        };
        let ready = server.ready(&log).await;
        // It has been read, and may hold the password.
        let _ = fs::remove_file(self.config_file());
        ready.map(|()| server)
    }

    fn config_file(&self) -> PathBuf {
        self.data.join("redis.conf")
    }

    fn pid_file(&self) -> PathBuf {
        self.data.join("redis.pid")
    }

    /// Makes the folder with the configuration in it, for the server's account alone.
    fn lay_out(&self, port: u16) -> io::Result<()> {
        fs::create_dir_all(&self.data)?;
        fs::set_permissions(&self.data, fs::Permissions::from_mode(0o700))?;
        let _ = fs::remove_file(self.config_file());
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.config_file())?;
        file.write_all(self.config(port).as_bytes())?;
        self.account
            .map_or(Ok(()), |account| account.own(&self.data))
    }

    fn config(&self, port: u16) -> String {
        let Options {
            append_only,
            memory,
            ref password,
            ..
        } = self.options;
        let mut text = format!(
            "bind 127.0.0.1\nport {port}\ndaemonize no\nlogfile \"\"\nsave \"\"\n\
             appendonly {}\nmaxmemory {}\nmaxmemory-policy {}\ndir {}\npidfile {}\n\
             # The command line stays as it is: the next run knows a left server by it.\n\
             set-proc-title no\n",
            if append_only { "yes" } else { "no" },
            memory.limit,
            memory.policy.as_str(),
            quoted(self.data.as_os_str().as_encoded_bytes()),
            quoted(self.pid_file().as_os_str().as_encoded_bytes()),
        );
        if let Some(password) = password {
            text.push_str("requirepass ");
            text.push_str(&quoted(password.as_bytes()));
            text.push('\n');
        }
        text
    }
}

/// Writes a value so that no byte of it can end the value or the line.
fn quoted(value: &[u8]) -> String {
    let mut text = String::from("\"");
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            text.push(char::from(*byte));
        } else {
            // Writing to a String can not fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text.push('"');
    text
}

/// Says whether the process `pid`, and no stranger on its port, answers `PING`.
pub(super) async fn answers(port: u16, password: Option<&str>, pid: u32) -> bool {
    let ask = async {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        let mut commands = Vec::new();
        if let Some(password) = password {
            command(&mut commands, &["AUTH", password]);
        }
        command(&mut commands, &["PING"]);
        command(&mut commands, &["INFO", "server"]);
        command(&mut commands, &["QUIT"]);
        stream.write_all(&commands).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let Ok(Ok(answer)) = tokio::time::timeout(PING_LIMIT, ask).await else {
        return false;
    };
    answer.contains("+PONG\r\n") && answer.contains(&format!("process_id:{pid}\r\n"))
}

/// Appends a command in Redis's protocol.
fn command(buffer: &mut Vec<u8>, words: &[&str]) {
    buffer.extend(format!("*{}\r\n", words.len()).bytes());
    for word in words {
        buffer.extend(format!("${}\r\n{word}\r\n", word.len()).bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_can_not_end_its_line() {
        assert_eq!(quoted(b"a\"b\n"), "\"a\\x22b\\x0a\"");
        assert_eq!(quoted(b"/data/1.x-y_z"), "\"/data/1.x-y_z\"");
    }
}
