//! Senders that do not read what they asked for: an answer goes on by [`STEP_BYTES`], or ends, within a time, or the connection is
//! closed.
//!
//! The kernel takes a small answer at once, even if the client never reads it. A large answer waits for its reader, and holds a task and a
//! connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// Longest time in which the client takes less than [`STEP_BYTES`] of an answer.
pub(super) const STALL_MAX: Duration = Duration::from_mins(1);

/// How much of an answer the client must take at least, unless that is its end.
const STEP_BYTES: usize = 8 * 1024;

/// A stream whose writes fail if the other side does not take them.
#[derive(Debug)]
pub(super) struct Stalling<S> {
    stream: S,
    stall_max: Duration,
    /// Set while the other side does not take everything: when the wait is too long, and how much it took since it last
    /// took all, or a step.
    waits: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> Stalling<S> {
    pub(super) fn new(stream: S, stall_max: Duration) -> Self {
        Self { stream, stall_max, waits: None }
    }

    /// The result of a write to which the stream gave this answer.
    fn judge(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let stall_max = self.stall_max;
            let (too_long, _) = self.waits.get_or_insert_with(|| (Box::pin(tokio::time::sleep(stall_max)), 0));
            return too_long.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if let (Poll::Ready(Ok(bytes)), Some((_, taken))) = (&written, &mut self.waits) {
            *taken = taken.saturating_add(*bytes);
            if *taken >= STEP_BYTES {
                self.waits = None;
            }
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.judge(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// Called when everything is written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.waits = None;
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Writes so many bytes to a reader who takes `step` every ten seconds. Returns the result and when it came.
    async fn write(bytes: usize, step: usize) -> (io::Result<()>, Duration) {
        let (here, mut there) = tokio::io::duplex(1024);
        let mut stream = Stalling::new(here, STALL_MAX);
        let began = Instant::now();
        let reads = async {
            let mut buffer = vec![0; step];
            loop {
                sleep(10 * SECOND).await;
                if step > 0 && there.read_exact(&mut buffer).await.is_err() {
                    return;
                }
            }
        };
        let text = vec![b'x'; bytes];
        let writes = async {
            let written = stream.write_all(&text).await;
            let written = if written.is_ok() { stream.flush().await } else { written };
            (written, began.elapsed())
        };
        tokio::select! {
            done = writes => done,
            () = reads => panic!("the reader stays until the write has ended"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_ends_with_an_error() {
        let (written, after) = write(100_000, 0).await;
        assert_eq!((written.unwrap_err().kind(), after), (io::ErrorKind::TimedOut, STALL_MAX));
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_read_byte_by_byte_ends_with_an_error_too() {
        let (written, after) = write(100_000, 1).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(after <= STALL_MAX + 10 * SECOND, "{after:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reader_gets_all_however_long_it_takes() {
        let (written, after) = write(100_000, 2048).await;
        assert!(written.is_ok() && after > 5 * STALL_MAX, "{written:?} after {after:?}");
        let (written, _) = write(1024, 0).await;
        assert!(written.is_ok(), "what fits is not waited for");
    }
}
