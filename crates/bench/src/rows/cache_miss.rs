//! E4: many askers of a key that nobody has, in one process and in several over one Redis.

use std::{
    process::Stdio,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use futures::future::try_join_all;
use sutazai_mesh::catalog::ServiceName;
use tokio::process::Command;

use crate::{
    askers::{REDIS, Seen},
    failure::Failure,
    row::{Figure, Goal, Row, Side, Values},
    stage::Stage,
};

const PROCESSES: usize = 4;
/// Time for the processes to start and reach Redis before all ask.
const AHEAD: Duration = Duration::from_millis(1_000);

/// Calls of the origin by askers of one key.
#[derive(Debug, Default)]
pub(super) struct E4 {
    redis: String,
}

#[async_trait]
impl Row for E4 {
    fn id(&self) -> &'static str {
        "E4"
    }

    fn what(&self) -> &'static str {
        "1,000 askers at once of a key that nobody has, the origin takes 100 ms"
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Ours]
    }

    fn figures(&self) -> Vec<Figure> {
        let once = Goal::Exactly(1.0);
        vec![
            Figure::new("one", "calls of the origin, one process without Redis", "").alone(once),
            Figure::new("four", "calls of the origin, four processes", "").alone(once),
            Figure::new(
                "added",
                "p99 of the waits beyond the origin's time, one process",
                "ms",
            )
            .alone(Goal::AtMost(1.0)),
            Figure::new("added4", "the same, four processes that share a core", "ms"),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        self.redis = platform.secret_of(ServiceName::Backend, "REDIS_URL_FILE")?;
        Ok(())
    }

    async fn measure(&mut self, stage: &Stage, _: Side) -> Result<Values, Failure> {
        let alone = ask(stage, 1, None).await?;
        let together = ask(stage, PROCESSES, Some(&self.redis)).await?;
        let calls = |seen: &[Seen]| seen.iter().map(|seen| seen.calls as f64).sum();
        let most = |seen: &[Seen], of: fn(&Seen) -> f64| seen.iter().map(of).fold(0.0, f64::max);
        let added = |seen: &[Seen]| most(seen, |seen| seen.wait) - most(seen, |seen| seen.origin);
        Ok([
            ("one", calls(&alone)),
            ("four", calls(&together)),
            ("added", added(&alone)),
            ("added4", added(&together)),
        ]
        .into())
    }
}

/// Has so many processes ask for a new key at the same moment.
async fn ask(stage: &Stage, processes: usize, redis: Option<&str>) -> Result<Vec<Seen>, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let at = now.unwrap_or_default() + AHEAD;
    let key = format!("e4-{}", at.as_nanos());
    let outputs = (0..processes).map(|_| {
        let mut command = Command::new(stage.binary("bench"));
        command
            .args(["askers", &key, &at.as_millis().to_string()])
            .env_remove(REDIS)
            .envs(redis.map(|url| (REDIS, url)))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        async move { command.output().await }
    });
    let outputs = try_join_all(outputs).await;
    let outputs = outputs.map_err(Failure::doing("run the askers"))?;
    let seen: Vec<Seen> = outputs
        .iter()
        .map(|output| serde_json::from_slice(&output.stdout))
        .collect::<Result<_, _>>()?;
    if seen.iter().any(|one| one.answer != seen[0].answer) {
        return Err(Failure::wrong("processes got different answers"));
    }
    Ok(seen)
}
