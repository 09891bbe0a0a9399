//! The client of all rounds: raw HTTP/1.1 over keep-alive connections, so that it costs little itself.
//!
//! [`closed`] asks again when it has the answer, [`open`] at fixed times; [`streams`] reads frames. All
//! look at every answer.

mod closed;
mod connection;
mod open;
mod streams;

use std::{fs, io, net::SocketAddr, sync::Arc, thread};

use tokio::{runtime, sync::oneshot};

use crate::failure::Failure;

pub use closed::{Closed, Length, closed};
pub use connection::{Answer, Connection};
pub use open::{Open, Shot, open};
pub use streams::{Streams, delays, since_1970, streams};

/// Bytes of a request, head and body.
pub type Wire = Arc<[u8]>;

/// What a load found.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Latencies in microseconds.
    pub latencies: Vec<f64>,
    /// Time from the first to the last, in seconds.
    pub seconds: f64,
    /// Time that the client itself had a core, in microseconds a request.
    pub client: f64,
}

impl Measured {
    /// Counts the answers.
    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// Returns the answers a second.
    pub fn rate(&self) -> f64 {
        self.count() as f64 / self.seconds
    }
}

/// Makes the bytes of a request; without a body it is a GET.
pub fn request(address: SocketAddr, path: &str, key: Option<&str>, body: Option<&str>) -> Wire {
    let method = if body.is_some() { "POST" } else { "GET" };
    let key = key.map(|key| format!("authorization: Bearer {key}\r\n"));
    let sized = body.map(|body| {
        format!(
            "content-type: application/json\r\ncontent-length: {}\r\n",
            body.len()
        )
    });
    let text = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\n{}{}\r\n{}",
        key.unwrap_or_default(),
        sized.unwrap_or_default(),
        body.unwrap_or_default()
    );
    text.into_bytes().into()
}

/// Asks once for a path on a connection of its own, and returns the status.
///
/// # Errors
/// Nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> io::Result<u16> {
    let mut connection = Connection::open(address).await?;
    let answer = connection
        .exchange(&request(address, path, None, None))
        .await?;
    Ok(answer.status)
}

/// Runs a load on a thread of its own, and returns what it found with the time that the thread had a
/// core, in microseconds.
async fn alone<T, W>(work: impl FnOnce() -> W + Send + 'static) -> Result<(T, f64), Failure>
where
    T: Send + 'static,
    W: Future<Output = Result<T, Failure>>,
{
    let (done, result) = oneshot::channel();
    let thread = thread::Builder::new().name("load".to_owned());
    let run = move || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let outcome = runtime
            .map_err(Failure::doing("start the client"))
            .and_then(|runtime| {
                let found = runtime.block_on(work())?;
                Ok((found, own_time()))
            });
        let _ = done.send(outcome);
    };
    thread
        .spawn(run)
        .map_err(Failure::doing("start the client"))?;
    result
        .await
        .unwrap_or_else(|_| Err(Failure::wrong("the client ended early")))
}

/// Microseconds that this thread has had a core; 0 where the kernel does not say.
fn own_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let first = text.split_whitespace().next();
    first.and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_written_whole() {
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let wire = request(address, "/a", Some("k"), Some("{}"));
        let text = String::from_utf8_lossy(&wire).into_owned();
        assert!(text.starts_with("POST /a HTTP/1.1\r\nhost: 127.0.0.1:80\r\n"));
        assert!(text.contains("authorization: Bearer k\r\n"));
        assert!(text.ends_with("content-length: 2\r\n\r\n{}"), "{text}");
        let plain = request(address, "/a", None, None);
        assert!(plain.starts_with(b"GET ") && plain.ends_with(b"\r\n\r\n"));
    }
}
