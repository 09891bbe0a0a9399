//! What can be said on the command line.

use std::{ffi::OsString, net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use sutazai_mesh::catalog::ServiceName;

/// One dependable agent service out of Ollama nodes and MCP servers.
#[derive(Debug, Parser)]
#[command(
    name = "sutazai",
    version,
    after_help = "Examples:\n  \
        sutazai dev                     start the platform in one process, state in .run/\n  \
        sutazai up                      the same as separate processes over real servers\n  \
        sutazai doctor                  probe every part of the running platform\n  \
        sutazai doctor --json | jq      the same for machines\n  \
        sutazai env init                write .env and secret files with random values"
)]
pub struct Cli {
    /// Print JSON, one document a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What `sutazai` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start the whole platform in one process, with a real Postgres as its child.
    Dev(DevArgs),
    /// Start the services as processes of their own over real servers, and return when they take work.
    Up(UpArgs),
    /// Stop what `up` started, in order; nothing is left running.
    Down(DownArgs),
    /// Show the logs of what `up` started.
    Logs(LogsArgs),
    /// Hold what `up` starts, in the background.
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// Probe every part of the running platform and print the evidence.
    Doctor(DoctorArgs),
    /// Generate environment files.
    Env(EnvArgs),
    /// Print the effective configuration of a service, secrets masked, or all its faults.
    Config(ConfigArgs),
    /// Print a short-lived access token for the administrator of the running platform.
    Token(TokenArgs),
    /// Render, check, compare and load the configuration of the gateway.
    Gateway(GatewayArgs),
    /// Run one service as a process of its own, as its own program does.
    Serve(ServeArgs),
    /// Make database, roles and schemas on a running Postgres, and bring them to this version.
    Migrate(MigrateArgs),
    /// Give each service its rights in a running Consul.
    Enroll(EnrollArgs),
    /// Ask the service beside this command whether it takes work.
    Healthcheck(HealthcheckArgs),
    /// Write the generated files of the repository, or check that they are fresh.
    #[command(hide = true)]
    Generate {
        /// Change nothing; fail when a file is stale.
        #[arg(long)]
        check: bool,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Arguments of `sutazai dev`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        sutazai dev\n  \
        sutazai dev --port 0 --data /tmp/second     a second platform beside the first\n  \
        OLLAMA_URLS=http://gpu-1:11434,http://gpu-2:11434 sutazai dev\n  \
        sutazai dev --backup before.dump --reset    keep a dump, then start afresh")]
pub struct DevArgs {
    /// Folder that keeps the state.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
    /// Port of the public API on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 10010)]
    pub port: u16,
    /// Port of the model fleet's own door (Ollama's and OpenAI's dialects); 0 takes a free one.
    #[arg(long, default_value_t = 10011)]
    pub proxy_port: u16,
    /// Throw the state away first.
    #[arg(long)]
    pub reset: bool,
    /// Write a dump of the database (for `pg_restore`) first.
    #[arg(long, value_name = "FILE")]
    pub backup: Option<PathBuf>,
}

/// Arguments of `sutazai up`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        sutazai up --replicas 2                          two instances of every service\n  \
        sutazai up --free-ports --data /tmp/second       a second platform beside the first")]
pub struct UpArgs {
    /// Folder that keeps the state, in `up/` below it.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
    /// Instances of each service.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub replicas: u16,
    /// Take free ports in place of the documented ones.
    #[arg(long)]
    pub free_ports: bool,
    /// Throw the state away first.
    #[arg(long)]
    pub reset: bool,
}

/// Arguments of `sutazai supervise`: those of `sutazai up`.
pub type SuperviseArgs = UpArgs;

/// Arguments of `sutazai down`.
#[derive(Clone, Debug, Args)]
pub struct DownArgs {
    /// Folder that keeps the state.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
}

/// Arguments of `sutazai logs`.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// A service or server; all when absent.
    pub name: Option<String>,
    /// Go on with what is added.
    #[arg(short, long)]
    pub follow: bool,
    /// Folder that keeps the state.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
}

/// Arguments of `sutazai serve`.
#[derive(Clone, Debug, Args)]
pub struct ServeArgs {
    /// The service.
    pub service: ServiceName,
    /// What its own program takes, for example --selfcheck.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub arguments: Vec<OsString>,
}

/// Arguments of `sutazai migrate`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The folder of secrets holds a file for each role: postgres-superuser, postgres-sutazai_owner and \
        one for each service; `sutazai env init` makes them. It may run again at any time: passwords are set anew, \
        what is there stays.\n\n\
        Examples:\n  \
        sutazai migrate --host db.internal --secrets secrets\n  \
        sutazai migrate --port 10000 --secrets .run/up/secrets     the database of `sutazai up`\n  \
        sutazai migrate --json | jq .migrations                    how many ran, schema by schema"
)]
pub struct MigrateArgs {
    /// Host of the server.
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,
    /// Port of the server.
    #[arg(long, default_value_t = 5432)]
    pub port: u16,
    /// Folder with the passwords of the superuser and of all roles.
    #[arg(long, value_name = "DIR", default_value = "secrets")]
    pub secrets: PathBuf,
    /// Longest time for all of it, in seconds.
    #[arg(long, default_value_t = 300)]
    pub seconds: u64,
}

/// Arguments of `sutazai enroll`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The folder of secrets holds the tokens: consul-management, which Consul was started with, consul-ui \
        for its pages, consul-node and consul-operator for people, and one for each service; `sutazai env init` makes them. It may run again at any time.\n\n\
        Examples:\n  \
        sutazai enroll --address http://consul:8500 --secrets secrets\n  \
        sutazai enroll --json | jq .token_made"
)]
pub struct EnrollArgs {
    /// Address of Consul's HTTP API.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8500")]
    pub address: String,
    /// Folder with the tokens.
    #[arg(long, value_name = "DIR", default_value = "secrets")]
    pub secrets: PathBuf,
}

/// Arguments of `sutazai healthcheck`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The exit code is 0 when the service takes work and 1 when it does not, or does not answer.\n\n\
        Examples:\n  \
        sutazai healthcheck                                in a container: HTTP_LISTEN names the address\n  \
        sutazai healthcheck --address 127.0.0.1:10011\n  \
        sutazai healthcheck --json | jq .detail            why it does not take work"
)]
pub struct HealthcheckArgs {
    /// Address that the service serves HTTP on; that of HTTP_LISTEN when absent, else 127.0.0.1:10010.
    #[arg(long)]
    pub address: Option<SocketAddr>,
    /// Longest wait for the answer, in seconds.
    #[arg(long, default_value_t = 3)]
    pub seconds: u64,
}

/// Arguments of `sutazai doctor`.
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "The exit code is 1 when a part is broken or could not be judged. A part that nobody has used, \
        and one that the platform does without, is no failure."
)]
pub struct DoctorArgs {
    /// Folder that keeps the state of the running platform.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
    /// Admin API of the Kong in front of the platform; one on the documented ports is found without.
    #[arg(long, value_name = "URL", env = "KONG_ADMIN_URL")]
    pub kong: Option<String>,
    /// Where that Kong serves clients, if not on the documented port.
    #[arg(long, value_name = "URL")]
    pub kong_proxy: Option<String>,
}

/// Arguments of `sutazai env`.
#[derive(Clone, Debug, Args)]
pub struct EnvArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: EnvAction,
}

/// What `sutazai env` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum EnvAction {
    /// Write `.env` and a folder of secret files with random values; what exists is kept.
    Init {
        /// Folder to write to.
        #[arg(long, value_name = "DIR", default_value = ".")]
        dir: PathBuf,
    },
    /// Print the commented list of all settings (the committed `.env.example`).
    Example,
}

/// Arguments of `sutazai config`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "The exit code is 78 when the configuration has faults.")]
pub struct ConfigArgs {
    /// The service; all services when absent.
    pub service: Option<ServiceName>,
}

/// Arguments of `sutazai token`.
#[derive(Clone, Debug, Args)]
pub struct TokenArgs {
    /// Folder that keeps the state of the platform.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
}

/// Arguments of `sutazai gateway`.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
        sutazai gateway render --keys          write .run/kong.yml with the keys of users' tokens\n  \
        sutazai gateway check                  judge what would be rendered\n  \
        sutazai gateway check kong/kong.yml --conf kong/kong.conf\n  \
        sutazai gateway diff                   what a running Kong has loaded, against that\n  \
        sutazai gateway apply --probe http://127.0.0.1:10005/health")]
pub struct GatewayArgs {
    /// What to do.
    #[command(subcommand)]
    pub action: GatewayAction,
}

/// What `sutazai gateway` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum GatewayAction {
    /// Print the configuration, or write it with the keys of this machine.
    Render {
        /// Write `kong.yml` into the state folder, with a row for each key of users' tokens.
        #[arg(long)]
        keys: bool,
        /// What belongs to this machine.
        #[command(flatten)]
        site: SiteArgs,
    },
    /// Judge a configuration: what would be rendered, or files.
    #[command(after_help = "The exit code is 1 when there are faults.")]
    Check {
        /// A declarative file; what would be rendered when absent.
        file: Option<PathBuf>,
        /// Settings of the process; those that would be rendered when absent.
        #[arg(long, value_name = "FILE")]
        conf: Option<PathBuf>,
    },
    /// Compare what a running Kong has loaded with what would be rendered.
    #[command(after_help = "The exit code is 1 when there are differences.")]
    Diff {
        /// The Kong.
        #[command(flatten)]
        kong: KongArgs,
        /// What belongs to this machine.
        #[command(flatten)]
        site: SiteArgs,
    },
    /// Load the configuration into a running Kong, probe it, and go back when a probe fails.
    Apply {
        /// The Kong.
        #[command(flatten)]
        kong: KongArgs,
        /// What belongs to this machine.
        #[command(flatten)]
        site: SiteArgs,
        /// Address that must answer with success through the gateway; may be repeated.
        #[arg(
            long = "probe",
            value_name = "URL",
            default_values_t = [String::from("http://127.0.0.1:10005/health")]
        )]
        probes: Vec<String>,
    },
}

/// Where a running Kong is.
#[derive(Clone, Debug, Args)]
pub struct KongArgs {
    /// Its admin API.
    #[arg(
        long,
        value_name = "URL",
        env = "KONG_ADMIN_URL",
        default_value = "http://127.0.0.1:10015"
    )]
    pub admin: String,
}

/// What belongs to one machine.
#[derive(Clone, Debug, Args)]
pub struct SiteArgs {
    /// Folder that keeps the state of the platform.
    #[arg(long, value_name = "DIR", default_value = ".run")]
    pub data: PathBuf,
    /// Public keys of the platform; `jwks.json` of the state folder when absent.
    #[arg(long, value_name = "FILE", env = "JWKS_FILE")]
    pub jwks: Option<PathBuf>,
    /// Origin of another site that may use the API from a browser; may be repeated.
    #[arg(
        long = "origin",
        value_name = "ORIGIN",
        env = "CORS_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub origins: Vec<String>,
}
