//! Open loop: requests leave at fixed times, whatever the server does; a late answer delays no other
//! one's clock, so waiting in a queue is counted as what it is.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future;
use tokio::time::Instant;

use super::{Connection, Measured, Wire, alone};
use crate::failure::Failure;

/// One request of a mix.
#[derive(Clone, Debug)]
pub struct Shot {
    /// What is sent.
    pub request: Wire,
    /// Which latencies it belongs to.
    pub class: usize,
}

/// A load whose rate the client decides.
#[derive(Clone)]
pub struct Open {
    /// Who is asked.
    pub to: SocketAddr,
    /// The request of a number; numbers count up from 0 over all connections.
    pub shots: Arc<dyn Fn(u64) -> Shot + Send + Sync>,
    /// Classes of requests.
    pub classes: usize,
    /// Requests a second, in all.
    pub rate: f64,
    /// How long it goes on.
    pub time: Duration,
    /// Keep-alive connections; request `n` goes over connection `n % connections`.
    pub connections: usize,
}

/// Runs the load. A latency counts from the moment at which the request was to leave.
///
/// # Errors
/// An answer is missing, cut, or not a success.
pub async fn open(load: Open) -> Result<Measured, Failure> {
    let seconds = load.time.as_secs_f64();
    let classes = load.classes;
    let (seen, cpu) = alone(move || run(load)).await?;
    let count = seen.len().max(1);
    let mut latencies = vec![Vec::new(); classes];
    for (class, latency) in seen {
        if let Some(class) = latencies.get_mut(class) {
            class.push(latency);
        }
    }
    Ok(Measured {
        latencies,
        seconds,
        client: cpu / count as f64,
    })
}

async fn run(load: Open) -> Result<Vec<(usize, f64)>, Failure> {
    let refused =
        |error| Failure::wrong(format!("{} does not take a connection: {error}", load.to));
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(load.to).await.map_err(refused)?);
    }
    // A moment in which every connection's task comes to its first wait.
    let begin = Instant::now() + Duration::from_millis(100);
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
        let shot = (load.shots)(number as u64);
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
