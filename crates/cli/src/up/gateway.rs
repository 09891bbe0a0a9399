//! Kong in front of the platform, where its program is on this machine or a Docker engine answers.
//!
//! A program is prepared and then replaced by its web server, as its own container does it: one process,
//! which a signal reaches. `kong start` would leave a server behind that nobody here holds.

pub(super) mod container;

use std::{
    env,
    ffi::OsStr,
    fs,
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
use crate::{
    args::SiteArgs,
    gateway,
    screen::Screen,
    site::{
        self,
        description::{Container, Gateway},
    },
};

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

/// How a Kong can be run here.
pub(super) enum Way {
    /// By its own programs.
    Programs { kong: PathBuf, web_server: PathBuf },
    /// By a Docker engine, which this client speaks with.
    Docker(PathBuf),
}

/// A Kong that takes connections.
pub(super) struct Started {
    pub(super) fresh: Fresh<&'static str>,
    pub(super) gateway: Gateway,
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

impl Way {
    /// Looks for Kong on the `PATH`, then for a Docker engine.
    pub(super) async fn find() -> Option<Self> {
        Self::on(&env::var_os("PATH").unwrap_or_default()).await
    }

    async fn on(path: &OsStr) -> Option<Self> {
        let find = |name: &str| {
            let mut programs = env::split_paths(path).map(|folder| folder.join(name));
            programs.find(|program| program.is_file())
        };
        if let Some(kong) = find(KONG) {
            let web_server = WEB_SERVER.into();
            return Some(Self::Programs { kong, web_server });
        }
        let docker = find(container::DOCKER)?;
        let answers = container::answers(&docker).await;
        answers.then_some(Self::Docker(docker))
    }
}

impl Site<'_> {
    /// Renders the configuration, starts Kong, and returns when it takes connections.
    ///
    /// # Errors
    /// A port is taken, the configuration can not be rendered, the image not be fetched, or the end of
    /// Kong's log.
    pub(super) async fn start(&self, way: &Way, screen: &Screen) -> Result<Started, Error> {
        let container = match way {
            Way::Programs { .. } => None,
            Way::Docker(docker) => {
                let own = self.container(docker)?;
                // What an earlier start left holds its ports.
                container::remove(&own).await;
                container::fetch(docker, screen).await?;
                Some(own)
            }
        };
        let (proxy, admin) = self.ports.kong()?;
        let plan = Plan::Service(self.options(way)?);
        let running = plan.start().await.map_err(|source| Error::Start {
            name: KONG.to_owned(),
            source: Box::new(source),
        })?;
        match self.ready(&running).await {
            Ok(()) => Ok(Started {
                fresh: (KONG, plan, running),
                gateway: Gateway {
                    proxy: format!("http://{}", listen(proxy)),
                    admin: format!("http://{}", listen(admin)),
                    container,
                },
            }),
            Err(error) => {
                running.stop().await;
                if let Some(container) = &container {
                    container::remove(container).await;
                }
                Err(error)
            }
        }
    }

    fn options(&self, way: &Way) -> Result<process::Options, Error> {
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
        let mut environment = vec![
            ("KONG_NGINX_DAEMON", "off".to_owned()),
            ("KONG_PROXY_LISTEN", listen(proxy)),
            ("KONG_ADMIN_LISTEN", listen(admin)),
            ("KONG_DNS_RESOLVER", listen(self.dns)),
        ];
        let (kong, web_server) = match way {
            Way::Programs { kong, web_server } => (kong, web_server),
            Way::Docker(docker) => {
                let files = container::Files {
                    entities: &declaration,
                    settings: &settings,
                };
                let own = self.container(docker)?;
                let options = container::options(&own, &files, environment, self.log());
                return Ok(options.map_err(site::Error::Secrets)?);
            }
        };
        environment.push(("KONG_DECLARATIVE_CONFIG", text(&declaration)));
        Ok(process::Options {
            name: KONG.to_owned(),
            program: "/bin/sh".into(),
            arguments: vec![
                "-c".to_owned(),
                RUN.to_owned(),
                KONG.to_owned(),
                text(kong),
                text(&self.data.join(KONG)),
                text(&settings),
                text(web_server),
            ],
            environment,
            log: self.log(),
            grace: GRACE,
        })
    }

    fn container(&self, docker: &Path) -> Result<Container, Error> {
        let own = container::of(docker.to_owned(), self.data);
        Ok(own.map_err(site::Error::Secrets)?)
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
