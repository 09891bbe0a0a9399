//! C2: from the submission of a task to its start, one at a time, beside two raw commits and one raw
//! confirmed delivery.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sutazai_mesh::catalog::ServiceName;
use tokio::time::timeout;

use crate::{
    failure::Failure,
    limit::pipeline::Pipeline,
    noop::{INPUT, Noop},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::Stage,
};

const TASKS: usize = 500;
/// Longest time for one of them.
const LIMIT: Duration = Duration::from_secs(20);

/// Tasks one at a time.
#[derive(Debug, Default)]
pub(super) struct C2(Option<(Pipeline, Noop)>);

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
        let limit = Pipeline::new(&platform.superuser_url()?, &broker).await?;
        self.0 = Some((limit, Noop::start(stage).await?));
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let prepared = self.0.as_mut();
        let (limit, noop) = prepared.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let door = noop.door();
        let mut times = Vec::with_capacity(TASKS);
        for _ in 0..TASKS {
            let time = if side == Side::Limit {
                let bare = timeout(LIMIT, limit.start(&INPUT)).await;
                bare.unwrap_or_else(|_| Err(Failure::wrong("the limit did not start a task")))?
            } else {
                let begun = Instant::now();
                door.submit().await?;
                noop.next().await? - begun
            };
            times.push(time.as_secs_f64() * 1000.0);
        }
        let mut values = Values::new();
        for (key, share) in [("p50", 0.5), ("p99", 0.99)] {
            values.extend(quantile(&mut times, share).map(|found| (key, found)));
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some((_, noop)) = self.0.take() {
            noop.stop().await;
        }
    }
}
