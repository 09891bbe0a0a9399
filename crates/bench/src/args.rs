//! What the command takes.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

/// Measures the platform beside its limits and peers.
#[derive(Debug, Parser)]
#[command(name = "bench", subcommand_negates_reqs = true)]
pub struct Args {
    /// Rows to measure, for example A1; all when none is named.
    pub rows: Vec<String>,
    /// Rounds that have to count, of each row.
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub rounds: u16,
    /// Install the peers into `.run/` and measure them too.
    #[arg(long)]
    pub peers: bool,
    /// A program of the benchmark itself.
    #[command(subcommand)]
    pub part: Option<Part>,
}

/// Programs that the benchmark starts from its own file.
#[derive(Debug, Subcommand)]
pub enum Part {
    /// Write which functions the services run, for the linker; the programs need their symbols.
    Order {
        /// The list.
        file: PathBuf,
    },
    /// The limit of the model fleet: a raw hyper proxy.
    #[command(hide = true)]
    Proxy {
        /// Port on 127.0.0.1.
        port: u16,
        /// Where everything is passed on to.
        upstream: SocketAddr,
    },
    /// The limit of the API: a raw axum answer.
    #[command(hide = true)]
    Answer {
        /// Port on 127.0.0.1.
        port: u16,
    },
    /// The limit of the API's mix: the same statements in one process.
    #[command(hide = true)]
    Api {
        /// Port on 127.0.0.1.
        port: u16,
        /// The model node.
        node: SocketAddr,
    },
    /// The model node of all rounds.
    #[command(hide = true)]
    Upstream {
        /// Ports on 127.0.0.1.
        ports: Vec<u16>,
    },
    /// One of the processes that miss the same key of the cache at the same time.
    #[command(hide = true)]
    Askers {
        /// The key.
        key: String,
        /// When all ask, in milliseconds since 1970.
        at: u64,
    },
    /// Keeps a core awake with what nobody else wants of it.
    #[command(hide = true)]
    Spin,
}
