#![doc = include_str!("../README.md")]
#![expect(
    clippy::cast_precision_loss,
    reason = "counts and sizes stay far below 2^52, and figures are judged to three digits"
)]

pub mod args;
pub mod askers;
mod callgrind;
pub mod failure;
pub mod limit;
pub mod load;
pub mod machine;
pub mod noop;
mod order;
pub mod peer;
pub mod quiet;
pub mod report;
pub mod round;
pub mod row;
pub mod rows;
mod serve;
pub mod spread;
pub mod stage;
pub mod upstream;

use std::{path::Path, process::ExitCode};

use clap::Parser;
use sutazai_cli::screen::Screen;
use sutazai_runtime::lifecycle::{self, Shutdown};

use args::{Args, Part};
use failure::Failure;
use report::Run;
use row::Row;
use stage::{Stage, cores};

/// What shells give a command that a signal ended.
const INTERRUPTED: u8 = 130;

/// Runs the command that the process's arguments name.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are "errors" that go to standard output and end well.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()) * 2);
        }
    };
    let screen = Screen::new(false);
    match execute(args, &screen) {
        Ok(code) => code,
        Err(error) => {
            screen.failed(&error);
            ExitCode::FAILURE
        }
    }
}

fn execute(args: Args, screen: &Screen) -> Result<ExitCode, Failure> {
    sutazai_cli::install_tls_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::doing("start the runtime"))?;
    match args.part {
        Some(Part::Proxy { port, upstream }) => runtime.block_on(limit::proxy::run(port, upstream)),
        Some(Part::Answer { port }) => runtime.block_on(limit::answer::run(port)),
        Some(Part::Api { port, node }) => runtime.block_on(limit::api::run(port, node)),
        Some(Part::Upstream { ports }) => runtime.block_on(upstream::run(ports)),
        Some(Part::Askers { key, at }) => runtime.block_on(askers::run(&key, at)),
        Some(Part::Spin) => cores::spin(),
        Some(Part::Order { file }) => runtime.block_on(Box::pin(order(&file, screen))),
        None => runtime.block_on(Box::pin(measure(&args, screen))),
    }
}

/// Measures the rows that were asked for, all when none was.
async fn measure(args: &Args, screen: &Screen) -> Result<ExitCode, Failure> {
    let rows = rows::named(&args.rows)?;
    let stage = Stage::new(args.peers)?;
    let mut run = Run::begin(&stage);
    let ended = until_told(each(rows, &stage, args.rounds, &mut run, screen)).await;
    stage.stop().await;
    if ended.is_none() {
        return Ok(interrupted(screen));
    }
    let whole = args.rows.is_empty();
    run.write(whole, screen)?;
    Ok(ExitCode::from(u8::from(run.missed())))
}

/// Writes the order of functions for the linker.
async fn order(file: &Path, screen: &Screen) -> Result<ExitCode, Failure> {
    let stage = Stage::new(false)?;
    let written = until_told(order::write(&stage, file)).await;
    stage.stop().await;
    let Some(written) = written else {
        return Ok(interrupted(screen));
    };
    screen.note(&format!("{} has {} functions", file.display(), written?));
    Ok(ExitCode::SUCCESS)
}

/// Works until a signal ends it: what runs must not outlive us, and the supervisor and its servers know no
/// parent.
async fn until_told<T>(work: impl Future<Output = T>) -> Option<T> {
    let shutdown = Shutdown::new();
    let signals = tokio::spawn(lifecycle::signals(shutdown.clone()));
    let done = tokio::select! {
        done = work => Some(done),
        () = shutdown.draining() => None,
    };
    signals.abort();
    done
}

fn interrupted(screen: &Screen) -> ExitCode {
    screen.note("interrupted: what ran is stopped, and nothing was written");
    ExitCode::from(INTERRUPTED)
}

/// Measures one row after the other.
async fn each(rows: Vec<Box<dyn Row>>, stage: &Stage, rounds: u16, run: &mut Run, screen: &Screen) {
    for mut row in rows {
        let outcomes = round::all(row.as_mut(), stage, rounds, screen).await;
        report::print(&outcomes, screen);
        run.add(outcomes);
    }
}
