//! Closed loop: each connection asks again as soon as it has the answer.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::future;

use super::{Connection, Measured, Wire, alone};
use crate::failure::Failure;

/// A load whose rate the server decides.
#[derive(Clone, Debug)]
pub struct Closed {
    /// Who is asked.
    pub to: SocketAddr,
    /// What is asked.
    pub request: Wire,
    /// The body that every answer has to have; none takes any that is not empty.
    pub body: Option<Bytes>,
    /// Connections.
    pub connections: usize,
    /// How long it goes on.
    pub length: Length,
}

/// How long a closed load goes on, after as much of it that does not count.
#[derive(Clone, Copy, Debug)]
pub enum Length {
    /// So long; a quarter before does not count.
    For(Duration),
    /// So many requests of each connection; a tenth before does not count.
    Requests(usize),
}

/// Runs the load.
///
/// # Errors
/// An answer is missing, cut, or not the expected one.
pub async fn closed(load: Closed) -> Result<Measured, Failure> {
    let ((latencies, seconds), cpu) = alone(move || run(load)).await?;
    let count = latencies.len().max(1);
    Ok(Measured {
        latencies,
        seconds,
        client: cpu / count as f64,
    })
}

async fn run(load: Closed) -> Result<(Vec<f64>, f64), Failure> {
    let mut connections = Connection::open_many(load.to, load.connections).await?;
    let warm = match load.length {
        Length::For(time) => Length::For(time / 4),
        Length::Requests(count) => Length::Requests(count.div_ceil(10)),
    };
    let warming = connections.iter_mut();
    future::try_join_all(warming.map(|connection| ask(connection, &load, warm))).await?;
    let begun = Instant::now();
    let asking = connections.iter_mut();
    let found = future::try_join_all(asking.map(|connection| ask(connection, &load, load.length)));
    let found = found.await?.concat();
    Ok((found, begun.elapsed().as_secs_f64()))
}

async fn ask(
    connection: &mut Connection,
    load: &Closed,
    length: Length,
) -> Result<Vec<f64>, Failure> {
    let mut latencies = Vec::new();
    let begun = Instant::now();
    let goes_on = |asked: usize| match length {
        Length::For(time) => begun.elapsed() < time,
        Length::Requests(count) => asked < count,
    };
    while goes_on(latencies.len()) {
        let sent = Instant::now();
        let answer = connection.exchange(&load.request).await;
        let answer = answer.map_err(|error| Failure::wrong(format!("{}: {error}", load.to)))?;
        latencies.push(sent.elapsed().as_secs_f64() * 1e6);
        let right = match &load.body {
            Some(body) => answer.body == body,
            None => !answer.body.is_empty(),
        };
        if answer.status != 200 || !right {
            return Err(Failure::wrong(format!(
                "{} answered {} with {}",
                load.to,
                answer.status,
                String::from_utf8_lossy(answer.body)
            )));
        }
    }
    Ok(latencies)
}
