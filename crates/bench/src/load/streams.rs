//! Many streams at once: when the first frame comes, when the others, and whether all do.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future;
use tokio::{sync::Barrier, time::Instant};

use super::{Connection, Wire, alone, connection::Head};
use crate::failure::Failure;

/// The last event of OpenAI's streams.
const DONE: &[u8] = b"data: [DONE]";
/// What begins a token that says when it left.
const CONTENT: &[u8] = br#""content":""#;
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
    let (seen, _) = alone(move || run(to, request, (count, SPREAD), read)).await?;
    Ok(Streams {
        first: seen.iter().map(|stream| stream.first).collect(),
        silence: seen.iter().map(|stream| stream.silence).collect(),
        lost: seen
            .iter()
            .map(|stream| frames.saturating_sub(stream.frames))
            .sum(),
    })
}

/// Opens `count` connections, asks on one after the other within `spread` for a stream of `tokens` tokens that
/// say when they left the node, and returns how long each of them was under way, in microseconds.
///
/// # Errors
/// A connection or its answer breaks, or a token is missing.
pub async fn delays(
    to: SocketAddr,
    request: Wire,
    count: usize,
    tokens: usize,
    spread: Duration,
) -> Result<Vec<f64>, Failure> {
    let (seen, _) = alone(move || run(to, request, (count, spread), read_tokens)).await?;
    let delays = seen.concat();
    if delays.len() == count * tokens {
        return Ok(delays);
    }
    let (came, sent) = (delays.len(), count * tokens);
    Err(Failure::wrong(format!("{came} tokens of {sent} came")))
}

#[derive(Debug, Default)]
struct Seen {
    first: f64,
    silence: f64,
    frames: usize,
}

/// Has each connection read by `read`, which begins with its request.
async fn run<T, F>(
    to: SocketAddr,
    request: Wire,
    (count, spread): (usize, Duration),
    read: fn(Connection, Wire) -> F,
) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    let connections = Connection::open_many(to, count).await?;
    let all_there = Arc::new(Barrier::new(count));
    let tasks = connections
        .into_iter()
        .enumerate()
        .map(|(index, connection)| {
            let (request, all_there) = (request.clone(), all_there.clone());
            let wait = spread.mul_f64(index as f64 / count as f64);
            tokio::spawn(async move {
                all_there.wait().await;
                tokio::time::sleep(wait).await;
                let broken = |error| Failure::wrong(format!("{to}, stream {index}: {error}"));
                read(connection, request).await.map_err(broken)
            })
        });
    let ended = |_| Failure::wrong("the client ended early");
    let mut seen = Vec::new();
    for task in future::join_all(tasks).await {
        seen.push(task.map_err(ended)??);
    }
    Ok(seen)
}

/// Sends a request whose answer has to be a stream.
async fn begin(connection: &mut Connection, request: &[u8]) -> io::Result<Head> {
    let head = connection.send(request).await?;
    if head.status != 200 {
        return Err(io::Error::other(format!("status {}", head.status)));
    }
    Ok(head)
}

async fn read(mut connection: Connection, request: Wire) -> io::Result<Seen> {
    let mut seen = Seen::default();
    let begun = Instant::now();
    let head = begin(&mut connection, &request).await?;
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

/// Returns how long each token was under way.
async fn read_tokens(mut connection: Connection, request: Wire) -> io::Result<Vec<f64>> {
    let head = begin(&mut connection, &request).await?;
    let mut delays = Vec::new();
    loop {
        let ended = connection.take(&head).await?;
        let now = since_1970();
        let body = connection.body();
        let lines = whole_lines(body);
        let left = lines.split(|byte| *byte == b'\n').filter_map(left_at);
        delays.extend(left.map(|left| now - left));
        let taken = lines.len();
        body.drain(..taken);
        if ended {
            return Ok(delays);
        }
    }
}

/// Returns when the token of a line left the node, if it has one.
fn left_at(line: &[u8]) -> Option<f64> {
    let at = line
        .windows(CONTENT.len())
        .position(|part| part == CONTENT)?;
    let digits = line[at + CONTENT.len()..]
        .split(|byte| *byte == b'"')
        .next()?;
    std::str::from_utf8(digits).ok()?.trim().parse().ok()
}

/// Microseconds since 1970.
pub fn since_1970() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap_or_default().as_secs_f64() * 1e6
}

/// Takes all whole lines, counts events among them, and says whether the last one was there.
fn count_events(body: &mut Vec<u8>) -> (usize, bool) {
    let lines = whole_lines(body);
    let (mut events, mut done) = (0, false);
    for line in lines.split(|byte| *byte == b'\n') {
        if line.starts_with(DONE) {
            done = true;
        } else if line.starts_with(b"data:") {
            events += 1;
        }
    }
    let taken = lines.len();
    body.drain(..taken);
    (events, done)
}

/// Returns all lines that have come to their end.
fn whole_lines(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|byte| *byte == b'\n');
    &body[..end.map_or(0, |end| end + 1)]
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

    #[test]
    fn a_token_says_when_it_left() {
        let line = br#"data: {"content":"1764509999123456 "}"#;
        assert_eq!(left_at(line), Some(1_764_509_999_123_456.0));
        assert_eq!(left_at(br#"data: {"content":"","done":true}"#), None);
        assert_eq!(left_at(b"event: token"), None);
    }
}
