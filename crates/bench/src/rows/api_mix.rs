//! B2: a mix of the API's work at fixed rates, beside one bare process that makes the same statements.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Deserialize;
use sutazai_mesh::catalog::ServiceName;

use crate::{
    failure::Failure,
    limit::{api, task_rows},
    load::{self, Connection, Open, Shot, Wire, open},
    row::{Figure, Goal, Row, Side, Values},
    spread::quantile,
    stage::{Core, Running, Stage, free_address},
};

/// A type of tasks that no worker takes: what is accepted waits, on both sides.
const TYPE: &str = "bench.kept";
const TASKS: &str = "/api/v1/tasks";
const AGENTS: &str = "/api/v1/agents";
const CHAT: &str = "/api/v1/chat";
/// Tasks that are read, by turns.
const STORED: usize = 64;
const CONNECTIONS: usize = 1_000;
const TIME: Duration = Duration::from_secs(5);
/// Longest time for the limit to take work: it makes its tables first.
const LIMIT: Duration = Duration::from_secs(30);
/// Requests a second, with the keys of all of them and of each class.
const STEPS: [(f64, [&str; 5]); 2] = [
    (
        500.0,
        ["p99_500", "read_500", "list_500", "create_500", "chat_500"],
    ),
    (
        1_000.0,
        [
            "p99_1000",
            "read_1000",
            "list_1000",
            "create_1000",
            "chat_1000",
        ],
    ),
];
/// Classes of requests, in the order of the keys.
const CLASSES: usize = 4;

/// A mix in open loop.
#[derive(Debug, Default)]
pub(super) struct B2 {
    /// The limit and ours, each with its requests.
    sides: Vec<(Side, SocketAddr, Mix)>,
    limit: Option<Running>,
}

/// The requests to one side.
#[derive(Clone, Debug)]
struct Mix {
    reads: Vec<Wire>,
    list: Wire,
    create: Wire,
    chat: Wire,
}

#[async_trait]
impl Row for B2 {
    fn id(&self) -> &'static str {
        "B2"
    }

    fn what(&self) -> &'static str {
        "60 % read a task, 20 % list agents, 15 % create a task, 5 % chat; open loop, 1,000 connections"
    }

    fn figures(&self) -> Vec<Figure> {
        let us = |key, what| Figure::new(key, what, "us");
        let all = us("p99_500", "p99, 500 requests a second");
        let read = us("read_500", "p99 of reading a task, 500 requests a second");
        vec![
            all.limit(Goal::RatioAtMost(1.5)),
            all.alone(Goal::AtMost(15_000.0)),
            read.limit(Goal::None),
            read.alone(Goal::AtMost(5_000.0)),
            us("list_500", "p99 of listing agents, 500 requests a second").limit(Goal::None),
            us(
                "create_500",
                "p99 of creating a task, 500 requests a second",
            )
            .limit(Goal::None),
            us("chat_500", "p99 of a chat, 500 requests a second").limit(Goal::None),
            us("p99_1000", "p99, 1000 requests a second").limit(Goal::None),
        ]
    }

    async fn prepare(&mut self, stage: &Stage) -> Result<(), Failure> {
        let platform = stage.platform().await?;
        let (database, key) = (platform.superuser_url()?, platform.api_key()?);
        task_rows::enter_type(&task_rows::judge(&database).await?, TYPE).await?;
        let ours = platform.http_of(ServiceName::Backend)?;
        let list = load::request(ours, AGENTS, Some(&key), None);
        let agents = Connection::to(ours).await?.text(&list).await?;
        let at = free_address()?;
        let words = [at.port().to_string(), platform.node().to_string()];
        let program = stage
            .part("api", words)
            .with(api::DATABASE, database)
            .with(api::AGENTS, agents);
        let limit = stage.start(&program, Core::All).await?;
        limit.ready(at, "/health", LIMIT).await?;
        self.limit = Some(limit);
        for (side, to) in [(Side::Limit, at), (Side::Ours, ours)] {
            self.sides.push((side, to, Mix::new(to, &key).await?));
        }
        Ok(())
    }

    async fn measure(&mut self, _: &Stage, side: Side) -> Result<Values, Failure> {
        let found = self.sides.iter().find(|(found, ..)| *found == side);
        let (_, to, mix) = found.ok_or_else(|| Failure::wrong("nothing was prepared"))?;
        let mut values = Values::new();
        for (rate, [all, classes @ ..]) in STEPS {
            let mix = mix.clone();
            let found = open(Open {
                to: *to,
                shots: Arc::new(move |number| mix.shot(number)),
                classes: CLASSES,
                rate,
                time: TIME,
                connections: CONNECTIONS,
            });
            let mut found = found.await?;
            let mut together = found.concat();
            values.extend(quantile(&mut together, 0.99).map(|p99| (all, p99)));
            for (key, latencies) in classes.into_iter().zip(&mut found) {
                values.extend(quantile(latencies, 0.99).map(|p99| (key, p99)));
            }
        }
        Ok(values)
    }

    async fn finish(&mut self) {
        if let Some(limit) = self.limit.take() {
            limit.stop().await;
        }
    }
}

impl Mix {
    /// Stores tasks to read, and writes all requests.
    async fn new(to: SocketAddr, key: &str) -> Result<Self, Failure> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        let request = |path: &str, body| load::request(to, path, Some(key), body);
        let input = "x".repeat(480);
        let task = format!(r#"{{"type":"{TYPE}","input":{{"text":"{input}"}}}}"#);
        let create = request(TASKS, Some(&task));
        let mut connection = Connection::to(to).await?;
        let mut reads = Vec::with_capacity(STORED);
        for _ in 0..STORED {
            let made: Made = serde_json::from_str(&connection.text(&create).await?)?;
            reads.push(request(&format!("{TASKS}/{}", made.id), None));
        }
        Ok(Self {
            reads,
            list: request(AGENTS, None),
            create,
            chat: request(CHAT, Some(r#"{"message":"Is it well? Say so at once"}"#)),
        })
    }

    /// Returns the request of a number: twelve reads, four lists, three tasks and a chat in twenty,
    /// in an order that spreads each of them, and that shifts where connections go round.
    fn shot(&self, number: usize) -> Shot {
        let (request, class) = match (number * 7 + number / CONNECTIONS) % 20 {
            0..12 => (&self.reads[number % self.reads.len()], 0),
            12..16 => (&self.list, 1),
            16..19 => (&self.create, 2),
            _ => (&self.chat, 3),
        };
        Shot {
            request: request.clone(),
            class,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_is_what_the_row_says() {
        let wire: Wire = (*b"GET / HTTP/1.1\r\n\r\n").into();
        let mix = Mix {
            reads: vec![wire.clone()],
            list: wire.clone(),
            create: wire.clone(),
            chat: wire,
        };
        let mut counts = [0; CLASSES];
        for number in 0..20 * CONNECTIONS {
            counts[mix.shot(number).class] += 1;
        }
        assert_eq!(counts, [12_000, 4_000, 3_000, 1_000]);
    }
}
