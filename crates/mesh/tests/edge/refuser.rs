//! A server of HTTP/2 that takes no call, and says so in the words of the protocol.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};

/// What it does with the first request of a connection, when it has read all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `REFUSED_STREAM`.
    RefusesStreams,
    /// `GOAWAY`, which names no stream as taken.
    SaysGoodbye,
    /// Nothing, until it is told to end; and it lets only one request in at a time.
    Ends,
}

/// The server; connections beyond the first ones are passed on to another.
pub(crate) struct Refuser {
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
    accepting: JoinHandle<()>,
}

struct Inside {
    how: How,
    requests: AtomicUsize,
    end: Notify,
}

const PREFACE: usize = 24;
const DATA: u8 = 0;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
/// Flag of the last frame of a request, and of the answer to settings.
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const REFUSED_STREAM: u32 = 7;
/// Setting `MAX_CONCURRENT_STREAMS`, and its value.
const ONE_AT_A_TIME: [u8; 6] = [0, 3, 0, 0, 0, 1];

impl Refuser {
    pub(crate) async fn start(how: How, first: usize, then: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inside = Arc::new(Inside {
            how,
            requests: AtomicUsize::new(0),
            end: Notify::new(),
        });
        let shared = Arc::clone(&inside);
        let accepting = tokio::spawn(async move {
            for number in 0.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                let inside = Arc::clone(&shared);
                tokio::spawn(async move {
                    if number < first {
                        return inside.refuse(stream).await;
                    }
                    let mut other = TcpStream::connect(then).await?;
                    copy_bidirectional(&mut stream, &mut other).await.map(drop)
                });
            }
        });
        Self {
            address,
            inside,
            accepting,
        }
    }

    /// Returns how many whole requests it has read.
    pub(crate) fn requests(&self) -> usize {
        self.inside.requests.load(Ordering::SeqCst)
    }

    /// Closes the connection that waits for that.
    pub(crate) fn end(&self) {
        self.inside.end.notify_one();
    }
}

impl Drop for Refuser {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Inside {
    async fn refuse(&self, mut stream: TcpStream) -> io::Result<()> {
        let settings: &[u8] = match self.how {
            How::Ends => &ONE_AT_A_TIME,
            _ => &[],
        };
        write(&mut stream, SETTINGS, 0, 0, settings).await?;
        let mut preface = [0; PREFACE];
        stream.read_exact(&mut preface).await?;
        // Its settings hold once they are answered.
        let mut acknowledged = false;
        let mut whole = None;
        loop {
            let (kind, flags, id) = read(&mut stream).await?;
            match kind {
                SETTINGS if flags & ACK == 0 => write(&mut stream, SETTINGS, ACK, 0, &[]).await?,
                SETTINGS => acknowledged = true,
                DATA if flags & END_STREAM != 0 => whole = Some(id),
                _ => {}
            }
            let Some(id) = whole.filter(|_| acknowledged) else {
                continue;
            };
            whole = None;
            self.requests.fetch_add(1, Ordering::SeqCst);
            match self.how {
                How::RefusesStreams => {
                    write(
                        &mut stream,
                        RST_STREAM,
                        0,
                        id,
                        &REFUSED_STREAM.to_be_bytes(),
                    )
                    .await?;
                }
                How::SaysGoodbye => {
                    write(&mut stream, GOAWAY, 0, 0, &[0; 8]).await?;
                    return Ok(());
                }
                How::Ends => {
                    self.end.notified().await;
                    return Ok(());
                }
            }
        }
    }
}

async fn write(
    stream: &mut TcpStream,
    kind: u8,
    flags: u8,
    id: u32,
    payload: &[u8],
) -> io::Result<()> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend(payload);
    stream.write_all(&frame).await
}

/// Reads a frame; what it holds does not matter.
async fn read(stream: &mut TcpStream) -> io::Result<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).unwrap()];
    stream.read_exact(&mut payload).await?;
    Ok((kind, flags, u32::from_be_bytes(id)))
}
