//! Open loop: requests leave at fixed times, whatever the server does; a late answer delays no other
//! one's clock, so waiting in a queue is counted as what it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future;
use tokio::time::Instant;

use super::{Connection, Wire, alone};
use crate::failure::Failure;

/// A moment in which every connection's task comes to its first wait.
const AHEAD: Duration = Duration::from_millis(100);

/// One request of a mix.
#[derive(Clone, Debug)]
pub struct Shot {
    /// What is sent.
    pub request: Wire,
    /// Which latencies it belongs to, counted from 0.
    pub class: usize,
}

/// A load whose rate the client decides.
#[derive(Clone)]
pub struct Open {
    /// Who is asked.
    pub to: SocketAddr,
    /// The request of a number; numbers count up from 0 over all connections.
    pub shots: Arc<dyn Fn(usize) -> Shot + Send + Sync>,
    /// Classes of requests.
    pub classes: usize,
    /// Requests a second, in all.
    pub rate: f64,
    /// How long it goes on.
    pub time: Duration,
    /// Keep-alive connections; request `n` goes over connection `n % connections`.
    pub connections: usize,
}

/// Runs the load and returns the latencies of each class in microseconds. One counts from the moment
/// at which its request was to leave.
///
/// # Errors
/// An answer is missing, cut, or not a success.
pub async fn open(load: Open) -> Result<Vec<Vec<f64>>, Failure> {
    let mut latencies = vec![Vec::new(); load.classes];
    let (seen, _) = alone(move || run(load)).await?;
    for (class, latency) in seen {
        if let Some(class) = latencies.get_mut(class) {
            class.push(latency);
        }
    }
    Ok(latencies)
}

async fn run(load: Open) -> Result<Vec<(usize, f64)>, Failure> {
    let connections = Connection::open_many(load.to, load.connections).await?;
    let begin = Instant::now() + AHEAD;
    let tasks = connections
        .into_iter()
        .enumerate()
        .map(|(index, connection)| tokio::spawn(ask(connection, index, load.clone(), begin)));
    let ended = |_| Failure::wrong("the client ended early");
    let mut seen = Vec::new();
    for task in future::join_all(tasks).await {
        seen.extend(task.map_err(ended)??);
    }
    Ok(seen)
}

async fn ask(
    mut connection: Connection,
    index: usize,
    load: Open,
    begin: Instant,
) -> Result<Vec<(usize, f64)>, Failure> {
    let mut seen = Vec::new();
    for number in (index..).step_by(load.connections) {
        let after = Duration::from_secs_f64(number as f64 / load.rate);
        if after >= load.time {
            break;
        }
        let shot = (load.shots)(number);
        let due = begin + after;
        tokio::time::sleep_until(due).await;
        let answer = connection.exchange(&shot.request).await;
        let answer = answer.map_err(|error| Failure::wrong(format!("{}: {error}", load.to)))?;
        if !(200..300).contains(&answer.status) {
            return Err(Failure::wrong(format!(
                "{} answered {} with {}",
                load.to,
                answer.status,
                String::from_utf8_lossy(answer.body)
            )));
        }
        seen.push((shot.class, due.elapsed().as_secs_f64() * 1e6));
    }
    Ok(seen)
}
