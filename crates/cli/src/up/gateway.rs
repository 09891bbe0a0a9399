//! Kong in front of the platform, where its program is on this machine.
//!
//! Kong is prepared and then replaced by its web server, as its own container does it: one process,
//! which a signal reaches. `kong start` would leave a server behind that nobody here holds.

use std::{
    env, fs,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use sutazai_gateway::kong::conf;
use sutazai_runtime::config::Source;
use sutazai_servers::process;

use super::{
    Error, logs,
    plan::{Fresh, Plan, Running},
    ports::Ports,
};
use crate::{args::SiteArgs, gateway, site};

/// Name of its process.
const KONG: &str = "kong";
/// The web server of Kong's packages.
const WEB_SERVER: &str = "/usr/local/openresty/nginx/sbin/nginx";
/// Arguments: Kong, its folder, its settings, its web server.
const RUN: &str = r#""$1" prepare -p "$2" -c "$3" && exec "$4" -p "$2" -c nginx.conf"#;
/// Longest time until it takes connections.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Longest time from SIGTERM to its end.
const GRACE: Duration = Duration::from_secs(10);
/// Lines of its log when it ends too early.
const LAST_LINES: usize = 20;

/// The programs of a Kong.
pub(super) struct Programs {
    kong: PathBuf,
    web_server: PathBuf,
}

/// What a Kong is started for.
pub(super) struct Site<'a> {
    /// State folder of the platform, with its public keys.
    pub(super) data: &'a Path,
    pub(super) logs: &'a Path,
    pub(super) ports: &'a Ports,
    /// Port of Consul's DNS, by which it finds the doors.
    pub(super) dns: u16,
}

impl Programs {
    /// Looks for Kong on the `PATH`.
    pub(super) fn find() -> Option<Self> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut folders = env::split_paths(&path).map(|folder| folder.join(KONG));
        folders.find(|program| program.is_file()).map(|kong| Self {
            kong,
            web_server: WEB_SERVER.into(),
        })
    }
}

impl Site<'_> {
    /// Renders the configuration, starts Kong, and returns when it takes connections.
    ///
    /// # Errors
    /// A port is taken, the configuration can not be rendered, or the end of Kong's log.
    pub(super) async fn start(&self, programs: &Programs) -> Result<Fresh<&'static str>, Error> {
        let plan = Plan::Service(self.options(programs)?);
        let running = plan.start().await.map_err(|source| Error::Start {
            name: KONG.to_owned(),
            source: Box::new(source),
        })?;
        match self.ready(&running).await {
            Ok(()) => Ok((KONG, plan, running)),
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    fn options(&self, programs: &Programs) -> Result<process::Options, Error> {
        let (proxy, admin) = self.ports.kong()?;
        let source = Source::process();
        let origins = source.get("CORS_ALLOWED_ORIGINS").unwrap_or_default();
        let declaration = gateway::render(&SiteArgs {
            data: self.data.to_owned(),
            jwks: None,
            origins: origins.split(',').map(str::to_owned).collect(),
        })?;
        let settings = self.data.join("kong.conf");
        fs::write(&settings, conf::text()).map_err(site::Error::Secrets)?;
        let text = |path: &Path| path.display().to_string();
        Ok(process::Options {
            name: KONG.to_owned(),
            program: "/bin/sh".into(),
            arguments: vec![
                "-c".to_owned(),
                RUN.to_owned(),
                KONG.to_owned(),
                text(&programs.kong),
                text(&self.data.join(KONG)),
                text(&settings),
                text(&programs.web_server),
            ],
            environment: vec![
                ("KONG_NGINX_DAEMON", "off".to_owned()),
                ("KONG_DECLARATIVE_CONFIG", text(&declaration)),
                ("KONG_PROXY_LISTEN", listen(proxy)),
                ("KONG_ADMIN_LISTEN", listen(admin)),
                ("KONG_DNS_RESOLVER", listen(self.dns)),
            ],
            log: self.log(),
            grace: GRACE,
        })
    }

    fn log(&self) -> PathBuf {
        self.logs.join(format!("{KONG}.log"))
    }

    async fn ready(&self, running: &Running) -> Result<(), Error> {
        let (begun, port) = (Instant::now(), self.ports.kong);
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if running.has_ended() {
                let log = self.log();
                let tail = logs::tail(&log, LAST_LINES).unwrap_or_default().join("\n");
                let name = KONG.to_owned();
                return Err(Error::Ended { name, log, tail });
            }
            if begun.elapsed() > READY_LIMIT {
                return Err(Error::Late {
                    seconds: READY_LIMIT.as_secs(),
                    waiting: KONG.to_owned(),
                    logs: self.logs.to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }
}

fn listen(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[cfg(test)]
mod tests;
