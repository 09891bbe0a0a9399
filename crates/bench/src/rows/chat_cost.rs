//! A3: instructions and system calls of one chat, counted: the same on a busy machine.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;

use super::doors::{PATH, same_body, short_chat};
use crate::{
    callgrind::{self, Callgrind},
    failure::Failure,
    load::{self, Closed, Length, closed},
    row::{Figure, Goal, Row, Side, Values},
    stage::{Core, Program, Stage, free_address},
};

/// Requests that are counted, after a tenth as many.
const REQUESTS: usize = 2000;
/// Longest time to take work under valgrind, which is fifty times slower.
const LIMIT: Duration = Duration::from_secs(120);

/// Counted cost of a chat, with one worker thread.
#[derive(Debug, Default)]
pub(super) struct A3 {
    folder: PathBuf,
}

#[async_trait]
impl Row for A3 {
    fn id(&self) -> &'static str {
        "A3"
    }

    fn what(&self) -> &'static str {
        "instructions and system calls of a chat in the model fleet's door"
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new("instructions", "instructions a chat", "").limit(Goal::RatioAtMost(2.0)),
            Figure::new("calls", "system calls a chat", "calls").alone(Goal::AtMost(6.5)),
            Figure::new("calls", "system calls a chat", "").limit(Goal::None),
        ]
    }

    /// Counts differ by less than 1 %.
    fn rounds(&self, asked: usize) -> usize {
        asked.min(2)
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        self.folder = stage.folder().join("counts");
        fs::create_dir_all(&self.folder).map_err(Failure::doing("make a folder"))?;
        stage.platform().await.map(drop)
    }

    async fn measure(&mut self, stage: &Stage, side: Side) -> Result<Values, Failure> {
        let instructions = self.instructions(stage, side).await?;
        let calls = self.calls(stage, side).await?;
        Ok([("instructions", instructions), ("calls", calls)].into())
    }
}

impl A3 {
    async fn instructions(&self, stage: &Stage, side: Side) -> Result<f64, Failure> {
        let mut callgrind = Callgrind::into(&self.folder, "chat");
        let (at, program) = program(stage, side).await?;
        // The start is none of the cost, and slow under instruments.
        let program = callgrind.around(program, &["--instr-atstart=no"]);
        let running = stage.start(&program, Core::Server).await?;
        running.ready(at, path(side), LIMIT).await?;
        callgrind::tell(&running, &["-i", "on"])?;
        ask(stage, side, at, REQUESTS / 10).await?;
        callgrind::tell(&running, &["-z"])?;
        // The warm-up of this load counts with its requests.
        ask(stage, side, at, REQUESTS).await?;
        let counts = callgrind.take(&running)?;
        running.stop().await;
        Ok(counts.instructions()? / asked(REQUESTS))
    }

    async fn calls(&self, stage: &Stage, side: Side) -> Result<f64, Failure> {
        let trace = self.folder.join("strace.out");
        // -D: the program stays our child and the tracer stands aside; a tracer that is stopped would
        // leave it running.
        let words = ["-D", "-f", "-qq", "-e", "signal=none", "-o"].map(str::to_owned);
        let words = words.into_iter().chain([trace.display().to_string()]);
        let (at, program) = program(stage, side).await?;
        let running = stage
            .start(&program.under("strace", words), Core::Server)
            .await?;
        running.ready(at, path(side), LIMIT).await?;
        ask(stage, side, at, REQUESTS / 10).await?;
        let before = count(&trace)?;
        ask(stage, side, at, REQUESTS).await?;
        let calls = count(&trace)? - before;
        running.stop().await;
        Ok(calls / asked(REQUESTS))
    }
}

/// A path that is answered when the program takes work: under valgrind the way into the database takes
/// longer than a first chat would wait for it.
fn path(side: Side) -> &'static str {
    match side {
        Side::Ours => "/readyz",
        _ => "/api/version",
    }
}

async fn program(stage: &Stage, side: Side) -> Result<(SocketAddr, Program), Failure> {
    let at = free_address()?;
    let program = if side == Side::Ours {
        stage.twin(ServiceName::OllamaProxy, at).await?
    } else {
        let upstream = stage.platform().await?.node();
        stage.part("proxy", [at.port().to_string(), upstream.to_string()])
    };
    Ok((at, program.with("TOKIO_WORKER_THREADS", "1")))
}

async fn ask(stage: &Stage, side: Side, to: SocketAddr, requests: usize) -> Result<(), Failure> {
    let key = stage.platform().await?.api_key()?;
    let load = Closed {
        to,
        request: load::request(to, PATH, Some(&key), Some(&short_chat())),
        body: same_body(side),
        connections: 1,
        length: Length::Requests(requests),
    };
    closed(load).await.map(drop)
}

/// Counts the requests of a load with those before the ones that it reports.
fn asked(requests: usize) -> f64 {
    (requests + requests.div_ceil(10)) as f64
}

/// Counts the calls of a trace; one that was interrupted by another thread's has two lines.
fn count(trace: &Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(trace).map_err(Failure::doing("read strace's lines"))?;
    Ok(calls(&text) as f64)
}

fn calls(trace: &str) -> usize {
    let is_call = |line: &&str| line.contains('(') && !line.contains(" resumed>");
    trace.lines().filter(is_call).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_once() {
        let trace = "7 epoll_wait(3,  <unfinished ...>\n8 recvfrom(9, \"\", 1) = 0\n\
                     7 <... epoll_wait resumed>[], 1024, 0) = 0\n7 +++ exited with 0 +++\n";
        assert_eq!(calls(trace), 2);
    }
}
