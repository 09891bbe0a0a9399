//! One keep-alive connection that reads whole answers: by their length, or in chunks.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::failure::Failure;

/// First size of the buffer, and the most of one read.
const READ: usize = 16 * 1024;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

/// An answer; its body lies in the connection until the next one.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// The status.
    pub status: u16,
    /// The body, without the marks of chunks.
    pub body: &'a [u8],
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(READ),
            body: Vec::new(),
        })
    }

    /// Connects to somebody who has to be there.
    ///
    /// # Errors
    /// Nobody listens, or the connection is refused.
    pub async fn to(address: SocketAddr) -> Result<Self, Failure> {
        let refused =
            |error| Failure::wrong(format!("{address} does not take a connection: {error}"));
        Self::open(address).await.map_err(refused)
    }

    /// Connects as many times.
    ///
    /// # Errors
    /// Nobody listens, or one is refused.
    pub(super) async fn open_many(address: SocketAddr, count: usize) -> Result<Vec<Self>, Failure> {
        let mut connections = Vec::with_capacity(count);
        for _ in 0..count {
            connections.push(Self::to(address).await?);
        }
        Ok(connections)
    }

    /// Asks for something that has to succeed, and returns the answer's body.
    ///
    /// # Errors
    /// The connection breaks, or the answer is an error.
    pub async fn text(&mut self, request: &[u8]) -> Result<String, Failure> {
        let answer = self.exchange(request).await;
        let answer = answer.map_err(Failure::doing("ask the API"))?;
        let body = String::from_utf8_lossy(answer.body).into_owned();
        if (200..300).contains(&answer.status) {
            return Ok(body);
        }
        let status = answer.status;
        Err(Failure::wrong(format!("the API answered {status}: {body}")))
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// The connection breaks, or what comes is no answer.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer<'_>> {
        let head = self.send(request).await?;
        while !self.take(&head).await? {}
        Ok(Answer {
            status: head.status,
            body: &self.body,
        })
    }

    /// Sends a request and reads the head of its answer.
    pub(super) async fn send(&mut self, request: &[u8]) -> io::Result<Head> {
        self.buffer.clear();
        self.body.clear();
        self.stream.write_all(request).await?;
        loop {
            self.read().await?;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = Head::parse(&self.buffer[..end])?;
                self.buffer.drain(..end + 4);
                return Ok(head);
            }
        }
    }

    /// Moves what has come to the body, after a read where nothing has; says whether that was all.
    pub(super) async fn take(&mut self, head: &Head) -> io::Result<bool> {
        if head.length == Some(0) {
            return Ok(true);
        }
        if self.buffer.is_empty() {
            self.read().await?;
        }
        match head.length {
            Some(length) => {
                self.body.append(&mut self.buffer);
                Ok(self.body.len() >= length)
            }
            None => self.take_chunks().await,
        }
    }

    /// The body so far; the caller may clear it.
    pub(super) fn body(&mut self) -> &mut Vec<u8> {
        &mut self.body
    }

    /// Takes all whole chunks; the one without bytes is the last.
    async fn take_chunks(&mut self) -> io::Result<bool> {
        let mut at = 0;
        let last = loop {
            let rest = &self.buffer[at..];
            let Some(end) = find(rest, b"\r\n") else {
                break false;
            };
            let size = chunk_size(&rest[..end])?;
            let whole = end + 2 + size + 2;
            if rest.len() < whole {
                break false;
            }
            self.body.extend_from_slice(&rest[end + 2..end + 2 + size]);
            at += whole;
            if size == 0 {
                break true;
            }
        };
        self.buffer.drain(..at);
        if at == 0 {
            // Only a part of a chunk is there.
            self.read().await?;
        }
        Ok(last)
    }

    async fn read(&mut self) -> io::Result<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// None for a body in chunks.
    length: Option<usize>,
}

impl Head {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let bad = || io::Error::new(ErrorKind::InvalidData, "no HTTP/1.1 answer");
        let text = str::from_utf8(head).map_err(|_| bad())?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.and_then(|word| word.parse().ok()).ok_or_else(bad)?;
        let mut length = None;
        let mut chunks = false;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse().map_err(|_| bad())?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                chunks = value.trim().eq_ignore_ascii_case("chunked");
            }
        }
        if !chunks && length.is_none() {
            length = Some(0);
        }
        Ok(Self { status, length })
    }
}

fn chunk_size(line: &[u8]) -> io::Result<usize> {
    let text = str::from_utf8(line).unwrap_or_default();
    let digits = text.split(';').next().unwrap_or_default().trim();
    usize::from_str_radix(digits, 16)
        .map_err(|_| io::Error::new(ErrorKind::InvalidData, "no size of a chunk"))
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// Sends `parts` to the first client, one write each, and returns what it made of them.
    async fn exchanged(parts: &'static [&'static str]) -> io::Result<(u16, String)> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut asked = [0; 4];
            stream.read_exact(&mut asked).await.unwrap();
            for part in parts {
                stream.write_all(part.as_bytes()).await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        });
        let mut connection = Connection::open(address).await.unwrap();
        let answer = connection.exchange(b"GET ").await?;
        let seen = (
            answer.status,
            String::from_utf8_lossy(answer.body).into_owned(),
        );
        server.await.unwrap();
        Ok(seen)
    }

    #[tokio::test]
    async fn an_answer_is_read_to_its_length() {
        let parts = &["HTTP/1.1 200 OK\r\nContent-", "Length: 5\r\n\r\nhe", "llo"];
        assert_eq!(exchanged(parts).await.unwrap(), (200, "hello".to_owned()));
        let parts = &["HTTP/1.1 204 No Content\r\n\r\n"];
        assert_eq!(exchanged(parts).await.unwrap(), (204, String::new()));
    }

    #[tokio::test]
    async fn chunks_are_joined_wherever_they_are_cut() {
        let parts = &[
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nab",
            "c\r\n2",
            "\r\nde\r\n0\r\n",
            "\r\n",
        ];
        assert_eq!(exchanged(parts).await.unwrap(), (200, "abcde".to_owned()));
    }

    #[tokio::test]
    async fn a_cut_answer_is_an_error() {
        let parts = &["HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"];
        let error = exchanged(parts).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
        let parts = &["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"];
        assert!(exchanged(parts).await.is_err());
    }
}
