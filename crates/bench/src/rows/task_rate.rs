//! C1: durable throughput of tasks, beside a bare pipeline of the same durability.
//!
//! Ours is submitted over gRPC, as the backend does it. The limit runs within this process.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::try_join_all;
use sutazai_mesh::catalog::ServiceName;
use tokio::time::timeout;

use crate::{
    failure::Failure,
    limit::{pipeline::Pipeline, task_rows},
    noop::{INPUT, Noop, TYPE},
    peer::celery::{self, Celery},
    row::{Figure, Goal, Row, Side, Values},
    stage::Stage,
};

const TASKS: usize = 5_000;
const SUBMITTERS: usize = 32;
/// Longest time for all of them.
const LIMIT: Duration = Duration::from_secs(180);
/// Pause between two looks at the completion rows; what it adds is a thousandth.
const LOOK: Duration = Duration::from_millis(5);

/// Tasks from acceptance to their completion rows.
#[derive(Debug, Default)]
pub(super) struct C1(Option<Prepared>);

#[derive(Debug)]
struct Prepared {
    limit: Pipeline,
    noop: Noop,
    database: String,
    celery: Option<Celery>,
}

#[async_trait]
impl Row for C1 {
    fn id(&self) -> &'static str {
        "C1"
    }

    fn what(&self) -> &'static str {
        "5,000 tasks of 512 B, 32 submitters: accepted, queued with confirms, run, completed"
    }

    fn figures(&self) -> Vec<Figure> {
        let rate = Figure::new("rate", "tasks a second", "1/s");
        vec![
            rate.limit(Goal::RatioAtLeast(0.7)),
            rate.peer(celery::NAME, Goal::RatioAtLeast(5.0)),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Limit, Side::Ours, Side::Peer(celery::NAME)]
    }

    fn rounds(&self, asked: usize) -> usize {
        asked.min(3)
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let database = platform.superuser_url()?;
        let broker = platform.secret_of(ServiceName::TaskCoordinator, "AMQP_URL_FILE")?;
        let limit = Pipeline::new(&database, &broker).await?;
        let celery = if stage.peers() {
            Some(Celery::start(stage, &broker).await?)
        } else {
            None
        };
        self.0 = Some(Prepared {
            limit,
            noop: Noop::start(stage).await?,
            database,
            celery,
        });
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let prepared = self.0.as_mut();
        let prepared = prepared.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let (tasks, time) = match side {
            Side::Limit => {
                let bare = timeout(LIMIT, prepared.limit.run(TASKS, SUBMITTERS, &INPUT)).await;
                let ended = Failure::wrong("the limit did not end");
                (TASKS, bare.unwrap_or(Err(ended))?)
            }
            Side::Ours => (TASKS, ours(&mut prepared.noop, &prepared.database).await?),
            _ => {
                let celery = prepared.celery.as_ref();
                let celery = celery.ok_or_else(|| Failure::wrong("Celery was not started"))?;
                (celery::TASKS, celery.run().await?)
            }
        };
        Ok([("rate", tasks as f64 / time.as_secs_f64())].into())
    }

    async fn finish(&mut self) {
        if let Some(prepared) = self.0.take() {
            prepared.noop.stop().await;
            if let Some(celery) = prepared.celery {
                celery.stop().await;
            }
        }
    }
}

async fn ours(noop: &mut Noop, database: &str) -> Result<Duration, Failure> {
    let judge = task_rows::judge(database).await?;
    let before = task_rows::succeeded(&judge, TYPE).await?;
    let begun = Instant::now();
    let submitted = (0..SUBMITTERS).map(|submitter| {
        let door = noop.door();
        let share = (submitter..TASKS).step_by(SUBMITTERS);
        let submit = async move {
            for _ in share {
                door.submit().await?;
            }
            Ok::<_, Failure>(())
        };
        async {
            tokio::spawn(submit)
                .await
                .unwrap_or_else(|_| Err(Failure::wrong("a submitter ended early")))
        }
    });
    let submitted = try_join_all(submitted);
    let started = async {
        for _ in 0..TASKS {
            noop.next().await?;
        }
        Ok::<_, Failure>(())
    };
    tokio::try_join!(submitted, started)?;
    loop {
        let done = task_rows::succeeded(&judge, TYPE).await? - before;
        match usize::try_from(done) {
            Ok(TASKS) => return Ok(begun.elapsed()),
            Ok(done) if done < TASKS && begun.elapsed() < LIMIT => tokio::time::sleep(LOOK).await,
            _ => {
                return Err(Failure::wrong(format!(
                    "{done} of {TASKS} tasks were completed"
                )));
            }
        }
    }
}
