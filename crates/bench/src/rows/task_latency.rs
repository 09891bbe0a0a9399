//! C2: from the submission of a task to its start, one at a time, beside two raw commits and one raw
//! confirmed delivery.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;
use tokio::time::timeout;

use crate::{
    failure::Failure,
    limit::{pipeline::Pipeline, task_rows},
    noop::{INPUT, Noop, TYPE},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::Stage,
};

const TASKS: usize = 500;
/// Longest time for one of them.
const LIMIT: Duration = Duration::from_secs(20);
/// Pause between two looks for the end of a task.
const LOOK: Duration = Duration::from_millis(2);

/// Tasks one at a time.
#[derive(Debug, Default)]
pub(super) struct C2(Option<Prepared>);

#[derive(Debug)]
struct Prepared {
    limit: Pipeline,
    noop: Noop,
    database: String,
}

#[async_trait]
impl Row for C2 {
    fn id(&self) -> &'static str {
        "C2"
    }

    fn what(&self) -> &'static str {
        "a task from its submission to its start, one at a time"
    }

    fn figures(&self) -> Vec<Figure> {
        vec![
            Figure::new("p50", "submitted to started, p50", "ms").limit(Goal::RatioAtMost(1.5)),
            Figure::new("p99", "submitted to started, p99", "ms").limit(Goal::None),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let broker = platform.secret_of(ServiceName::TaskCoordinator, "AMQP_URL_FILE")?;
        let database = platform.superuser_url()?;
        self.0 = Some(Prepared {
            limit: Pipeline::new(&database, &broker).await?,
            noop: Noop::start(stage).await?,
            database,
        });
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let prepared = self.0.as_mut();
        let prepared = prepared.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let mut times = Vec::with_capacity(TASKS);
        if side == Side::Limit {
            for _ in 0..TASKS {
                let bare = timeout(LIMIT, prepared.limit.start(&INPUT)).await;
                let late = Failure::wrong("the limit did not start a task");
                times.push(bare.unwrap_or(Err(late))?);
            }
        } else {
            prepared.ours(&mut times).await?;
        }
        let mut times: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        let mut values = Values::new();
        for (key, share) in [("p50", 0.5), ("p99", 0.99)] {
            values.extend(quantile(&mut times, share).map(|found| (key, found)));
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(Prepared { noop, .. }) = self.0.take() {
            noop.stop().await;
        }
    }
}

impl Prepared {
    /// Takes tasks to their start, each after the end of the one before: the limit, too, writes the
    /// end before it goes on.
    async fn ours(&mut self, times: &mut Vec<Duration>) -> Result<(), Failure> {
        let judge = task_rows::judge(&self.database).await?;
        let mut done = task_rows::succeeded(&judge, TYPE).await?;
        for _ in 0..TASKS {
            let begun = Instant::now();
            self.noop.door().submit().await?;
            times.push(self.noop.next().await? - begun);
            done += 1;
            while task_rows::succeeded(&judge, TYPE).await? < done {
                if begun.elapsed() > LIMIT {
                    return Err(Failure::wrong("a task did not end"));
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }
}
