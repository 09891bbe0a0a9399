//! Keeps one process running: started again after each end that nobody asked for.

use std::time::{Duration, Instant};

use sutazai_proto::status::chain;
use sutazai_resilience::Backoff;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    board::Board,
    plan::{Plan, Running},
};

/// Pauses before a process is started again.
const RESTART: Backoff = Backoff {
    min: Duration::from_millis(200),
    max: Duration::from_secs(10),
};
/// A process that ran this long has recovered: its next end is the first again. As long as the longest
/// pause, so that what ends right after each start is hardly ever started.
const STEADY: Duration = RESTART.max;

/// The task that keeps one process running.
pub(super) struct Keeper {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Takes over a running process.
    pub(super) fn new(name: String, plan: Plan, running: Running, board: Board) -> Self {
        let stop = CancellationToken::new();
        board.runs(&name, running.pid());
        let task = tokio::spawn(keep(name, plan, running, board, stop.clone()));
        Self { stop, task }
    }

    /// Stops the process and returns when it is gone.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        // An error means that the task panicked; its process is told to stop all the same.
        let _ = self.task.await;
    }
}

async fn keep(
    name: String,
    plan: Plan,
    mut running: Running,
    board: Board,
    stop: CancellationToken,
) {
    let mut ends = 0;
    loop {
        let begun = Instant::now();
        tokio::select! {
            () = stop.cancelled() => {
                running.stop().await;
                return board.stopped(&name);
            }
            () = running.ended() => {}
        }
        if begun.elapsed() > STEADY {
            ends = 0;
        }
        let again = stop.run_until_cancelled(restart(&name, &plan, &board, &mut ends));
        match again.await {
            Some(started) => {
                running = started;
                board.runs(&name, running.pid());
            }
            None => return board.stopped(&name),
        }
    }
}

/// Starts the process again, after growing pauses, until it runs.
async fn restart(name: &str, plan: &Plan, board: &Board, ends: &mut u32) -> Running {
    loop {
        *ends += 1;
        let pause = RESTART.ceiling(*ends);
        warn!(
            process = name,
            ends,
            ?pause,
            "process ended, starting it again"
        );
        board.restarts(name);
        tokio::time::sleep(pause).await;
        match plan.start().await {
            Ok(running) => {
                info!(process = name, pid = running.pid(), "process runs again");
                return running;
            }
            Err(error) => warn!(
                process = name,
                error = chain(&error),
                "process does not start"
            ),
        }
    }
}
