//! HTTP/1.1 by hand over a TCP connection, for what no well-behaved client sends: slow senders, chunked bodies in any
//! cut, pipelined requests, headers that are too many, too long or wrong, connections closed half-way.
//!
//! It sends the bytes it is given and reads answers as far as their framing tells. Nothing waits longer than
//! `PATIENCE`, so that a test fails instead of hanging.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longest wait for the other side.
const PATIENCE: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct RawHttp {
    stream: TcpStream,
    /// Bytes that were read but not used yet.
    buffer: Vec<u8>,
}

/// An answer as it arrived, with header names in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// Value of the first header with this name, which must be in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The head of a request with `Host` and the given headers, up to and including the empty line.
pub fn head(method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

/// A POST with a `Content-Length`.
pub fn post(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let length = body.len().to_string();
    let headers = [headers, &[("Content-Length", length.as_str())]].concat();
    [head("POST", path, &headers).as_bytes(), body].concat()
}

/// A POST in chunks of `size` bytes.
pub fn post_chunked(path: &str, headers: &[(&str, &str)], body: &[u8], size: usize) -> Vec<u8> {
    let headers = [headers, &[("Transfer-Encoding", "chunked")]].concat();
    let mut request = head("POST", path, &headers).into_bytes();
    for chunk in body.chunks(size) {
        request.extend(format!("{:x}\r\n", chunk.len()).bytes());
        request.extend_from_slice(chunk);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"0\r\n\r\n");
    request
}

impl RawHttp {
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("the listener accepts");
        stream.set_nodelay(true).expect("a connected socket takes options");
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes; false if the other side has closed the connection, which it may do while a request is under way.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        within("the other side to read", self.stream.write_all(bytes)).await.is_ok()
    }

    /// Sends in pieces, with a pause before each, until everything is sent or the other side closes. Returns how much it
    /// sent.
    pub async fn send_slowly(&mut self, bytes: &[u8], piece: usize, pause: Duration) -> usize {
        let mut sent = 0;
        for part in bytes.chunks(piece) {
            tokio::time::sleep(pause).await;
            if !self.send(part).await {
                break;
            }
            sent += part.len();
        }
        sent
    }

    /// Tells the other side that nothing more will follow.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// The next answer; `None` if the connection ends before one begins.
    pub async fn answer(&mut self) -> Option<Answer> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.read().await {
                assert!(self.buffer.is_empty(), "the connection ended within a head: {:?}", self.buffer);
                return None;
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {head:?}"));
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        answer.body = self.body(&answer).await;
        Some(answer)
    }

    /// Whether the other side closes the connection without sending another byte.
    pub async fn is_closed(&mut self) -> bool {
        !self.read().await && self.buffer.is_empty()
    }

    async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if answer.status < 200 || matches!(answer.status, 204 | 304) {
            return Vec::new();
        }
        if answer.header("transfer-encoding") == Some("chunked") {
            return self.chunks().await;
        }
        if let Some(length) = answer.header("content-length") {
            return self.take(length.parse().expect("a length is a number")).await;
        }
        while self.read().await {}
        std::mem::take(&mut self.buffer)
    }

    async fn chunks(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = loop {
                if let Some(end) = find(&self.buffer, b"\r\n") {
                    break self.take(end + 2).await;
                }
                assert!(self.read().await, "the connection ended within a chunked body");
            };
            let line = String::from_utf8_lossy(&line).into_owned();
            let size = usize::from_str_radix(line.trim(), 16).expect("a chunk's size is hexadecimal");
            let chunk = self.take(size + 2).await;
            if size == 0 {
                return body;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    async fn take(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            assert!(self.read().await, "the connection ended within a body");
        }
        self.buffer.drain(..length).collect()
    }

    /// Reads some bytes; false at the end of the connection, however it ended.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 8192];
        let count = within("an answer", self.stream.read(&mut bytes)).await.unwrap_or(0);
        self.buffer.extend_from_slice(&bytes[..count]);
        count > 0
    }
}

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("waited {PATIENCE:?} for {what}"))
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
