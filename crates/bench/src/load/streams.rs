//! Many event streams at once: when the first frame comes, when the others, and whether all do.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future;
use tokio::{sync::Barrier, time::Instant};

use super::{Connection, Wire, alone};
use crate::failure::Failure;

/// The last event of OpenAI's streams.
const DONE: &[u8] = b"data: [DONE]";
/// Starts of streams are spread over this time: users do not come in the same instant.
const SPREAD: Duration = Duration::from_millis(500);

/// What streams gave.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    /// Time from the request to the first frame, in microseconds, of each stream.
    pub first: Vec<f64>,
    /// Longest silence inside a stream, in microseconds, of each stream.
    pub silence: Vec<f64>,
    /// Frames that did not come.
    pub lost: usize,
}

/// Opens `count` connections, asks on each for a stream of `frames` frames, and reads all of them.
///
/// # Errors
/// A connection or its answer breaks; frames that only are missing are counted.
pub async fn streams(
    to: SocketAddr,
    request: Wire,
    count: usize,
    frames: usize,
) -> Result<Streams, Failure> {
    let (seen, _) = alone(move || run(to, request, count)).await?;
    Ok(Streams {
        first: seen.iter().map(|stream| stream.first).collect(),
        silence: seen.iter().map(|stream| stream.silence).collect(),
        lost: seen
            .iter()
            .map(|stream| frames.saturating_sub(stream.frames))
            .sum(),
    })
}

#[derive(Debug, Default)]
struct Seen {
    first: f64,
    silence: f64,
    frames: usize,
}

async fn run(to: SocketAddr, request: Wire, count: usize) -> Result<Vec<Seen>, Failure> {
    let connections = Connection::open_many(to, count).await?;
    let all_there = Arc::new(Barrier::new(count));
    let tasks = connections
        .into_iter()
        .enumerate()
        .map(|(index, connection)| {
            let (request, all_there) = (request.clone(), all_there.clone());
            let wait = SPREAD.mul_f64(index as f64 / count as f64);
            tokio::spawn(async move {
                all_there.wait().await;
                tokio::time::sleep(wait).await;
                let broken = |error| Failure::wrong(format!("{to}, stream {index}: {error}"));
                read(connection, &request).await.map_err(broken)
            })
        });
    let ended = |_| Failure::wrong("the client ended early");
    let mut seen = Vec::new();
    for task in future::join_all(tasks).await {
        seen.push(task.map_err(ended)??);
    }
    Ok(seen)
}

async fn read(mut connection: Connection, request: &[u8]) -> std::io::Result<Seen> {
    let mut seen = Seen::default();
    let begun = Instant::now();
    let head = connection.send(request).await?;
    if head.status != 200 {
        return Err(std::io::Error::other(format!("status {}", head.status)));
    }
    let mut last: Option<Instant> = None;
    loop {
        let ended = connection.take(&head).await?;
        let (events, done) = count_events(connection.body());
        if events > 0 {
            let now = Instant::now();
            let micros = |since: Instant| now.duration_since(since).as_secs_f64() * 1e6;
            match last {
                None => seen.first = micros(begun),
                Some(last) => seen.silence = seen.silence.max(micros(last)),
            }
            last = Some(now);
            seen.frames += events;
        }
        if ended || done {
            // Without the closing event the answer was cut, even where HTTP says that it is whole.
            seen.frames = if done { seen.frames } else { 0 };
            return Ok(seen);
        }
    }
}

/// Takes all whole lines, counts events among them, and says whether the last one was there.
fn count_events(body: &mut Vec<u8>) -> (usize, bool) {
    let Some(end) = body.iter().rposition(|byte| *byte == b'\n') else {
        return (0, false);
    };
    let lines = body[..end].split(|byte| *byte == b'\n');
    let (mut events, mut done) = (0, false);
    for line in lines {
        if line.starts_with(DONE) {
            done = true;
        } else if line.starts_with(b"data:") {
            events += 1;
        }
    }
    body.drain(..=end);
    (events, done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_wherever_reads_end() {
        let mut body = b"data: {}\n\ndata: {\"a\"".to_vec();
        assert_eq!(count_events(&mut body), (1, false));
        assert_eq!(count_events(&mut body), (0, false));
        body.extend_from_slice(b":1}\n\ndata: [DONE]\n\n");
        assert_eq!(count_events(&mut body), (1, true));
        assert!(body.is_empty());
    }
}
