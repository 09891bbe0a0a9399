//! A5: many event streams at once: none may lose a frame, and each has its price in memory.

use std::{pin::pin, time::Duration};

use async_trait::async_trait;

use super::doors::Doors;
use crate::{
    failure::Failure,
    load::streams,
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::{Running, Stage},
    upstream::MODEL,
};

/// Frames of a stream, and milliseconds between two.
const FRAMES: usize = 64;
const PAUSE: u64 = 20;
/// Time between two looks at a process's memory.
const SAMPLE: Duration = Duration::from_millis(50);
/// Streams at once, with their keys.
const STEPS: [Step; 3] = [
    Step {
        streams: 1,
        // One stream says little: as many, one after the other.
        repeats: 5,
        keys: ["ttft_1", "silence_1", "lost_1", "memory_1"],
    },
    Step {
        streams: 256,
        repeats: 1,
        keys: ["ttft_256", "silence_256", "lost_256", "memory_256"],
    },
    Step {
        streams: 2048,
        repeats: 1,
        keys: ["ttft_2048", "silence_2048", "lost_2048", "memory_2048"],
    },
];

struct Step {
    streams: usize,
    repeats: usize,
    keys: [&'static str; 4],
}

/// Streams through the door.
#[derive(Debug, Default)]
pub(super) struct A5 {
    doors: Option<Doors>,
    /// Memory of limit and ours before their first stream, in KiB.
    idle: [f64; 2],
}

#[async_trait]
impl Row for A5 {
    fn id(&self) -> &'static str {
        "A5"
    }

    fn what(&self) -> &'static str {
        "event streams through the model fleet's door: 64 frames, one every 20 ms"
    }

    fn figures(&self) -> Vec<Figure> {
        let first = |key, what| Figure::new(key, what, "us").added();
        let silence = |key, what| Figure::new(key, what, "us").added();
        vec![
            Figure::new("lost_256", "lost frames, 256 streams", "").alone(Goal::Exactly(0.0)),
            Figure::new("lost_2048", "lost frames, 2048 streams", "").alone(Goal::Exactly(0.0)),
            Figure::new("memory_2048", "memory a stream, 2048 streams", "KiB")
                .alone(Goal::AtMost(40.0)),
            Figure::new("memory_2048", "memory a stream, 2048 streams", "KiB").limit(Goal::None),
            first("ttft_1", "added time to the first token, p50, 1 stream")
                .limit(Goal::RatioAtMost(1.5)),
            first(
                "ttft_256",
                "added time to the first token, p50, 256 streams",
            )
            .limit(Goal::None),
            first(
                "ttft_2048",
                "added time to the first token, p50, 2048 streams",
            )
            .limit(Goal::None),
            silence(
                "silence_256",
                "added to the longest silence, p99, 256 streams",
            )
            .limit(Goal::None),
        ]
    }

    fn sides(&self) -> Vec<Side> {
        vec![Side::Direct, Side::Limit, Side::Ours]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let doors = Doors::open(stage, &[]).await?;
        for (idle, side) in self.idle.iter_mut().zip([Side::Limit, Side::Ours]) {
            if let Some(running) = doors.running(side) {
                *idle = running.resident()?;
            }
        }
        self.doors = Some(doors);
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let doors = self.doors.as_ref();
        let doors = doors.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let idle = match side {
            Side::Limit => self.idle[0],
            _ => self.idle[1],
        };
        let mut values = Values::new();
        for step in &STEPS {
            let [ttft, silence, lost, memory] = step.keys;
            let (mut firsts, mut silences, mut missing, mut most) = (vec![], vec![], 0, 0.0_f64);
            for _ in 0..step.repeats {
                let request = doors.chat(side, &body())?;
                let load = streams(doors.address(side)?, request, step.streams, FRAMES);
                let (found, seen) = with_peak(load, doors.running(side)).await?;
                firsts.extend(found.first);
                silences.extend(found.silence);
                missing += found.lost;
                most = most.max(seen);
            }
            values.extend(quantile(&mut firsts, 0.5).map(|found| (ttft, found)));
            values.extend(quantile(&mut silences, 0.99).map(|found| (silence, found)));
            values.insert(lost, missing as f64);
            if side != Side::Direct {
                values.insert(memory, (most - idle) / step.streams as f64);
            }
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(doors) = self.doors.take() {
            doors.close().await;
        }
    }
}

/// Runs a load and returns with it the most memory that a process had meanwhile, in KiB.
async fn with_peak<T>(
    load: impl Future<Output = Result<T, Failure>>,
    process: Option<&Running>,
) -> Result<(T, f64), Failure> {
    let mut load = pin!(load);
    let mut most = 0.0_f64;
    loop {
        tokio::select! {
            found = &mut load => return Ok((found?, most)),
            () = tokio::time::sleep(SAMPLE) => {
                if let Some(running) = process {
                    most = most.max(running.resident()?);
                }
            }
        }
    }
}

fn body() -> String {
    format!(
        r#"{{"model":"{MODEL}","stream":true,"max_tokens":{FRAMES},"seed":{PAUSE},"messages":[{{"role":"user","content":"Say it."}}]}}"#
    )
}
